"""Reading what people write: YAML in which every key stands once, within limits.

Files of settings and of backgrounds come from anywhere. YAML allows what only
harms here: a key given twice, of which the last counts; aliases that unfold to
billions of values; nesting without end; a date where a number was meant.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from icflow.errors import IcflowError
from icflow.files import check_regular

# More than any file of settings holds.
LARGEST = 1 << 20  # bytes
DEEPEST = 30  # levels
MOST = 100_000  # values, aliases unfolded


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        names: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in names:
                line = key.start_mark.line + 1
                raise _NotAllowedError(f"line {line}: the key {key.value} is given twice")
            names.add(key.value)
        return super().construct_mapping(node, deep)


# Without dates: 2024-10-16 is text, and no number.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith("timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# What YAML 1.1 reads as a number of another value than it seems to have: 010 (8), 1:30 (90).
_OTHER_NUMBER = re.compile(r"[-+]?(?:0[0-9_]+|[0-9_]+(?::[0-9_]+)+)(?:\.[0-9_]*)?")


class _NotAllowedError(ValueError):
    """What YAML allows and a file of settings does not."""


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file that somebody wrote.

    Raises
    ------
    IcflowError
        If it cannot be read or is not YAML, if a key is given twice, and if it
        is larger, deeper or of more values than any file of settings.
    """
    path = Path(path)
    try:
        text = _text(path)
        return _load(text)
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror})") from None
    except _NotAllowedError as error:
        raise IcflowError(f"{path}: {error}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # ValueError: bytes that are not UTF-8, numbers of thousands of digits.
        why = " ".join(str(error).split())
        hint = "; write what holds \\ in single quotes" if "escape character" in why else ""
        raise IcflowError(f"{path}: not valid YAML: {why}{hint}") from None
    except RecursionError:
        raise IcflowError(f"{path}: nested more than {DEEPEST} levels deep") from None


def _text(path: Path) -> str:
    check_regular(path)
    size = path.stat().st_size
    if size > LARGEST:
        raise _NotAllowedError(f"has {size} bytes, expected at most {LARGEST}")
    return path.read_text(encoding="utf-8")


def _load(text: str) -> Any:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _measure(node, 0, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check_number(node: yaml.Node) -> None:
    """Refuse a number that means another one."""
    is_number = node.tag.endswith((":int", ":float"))
    if is_number and _OTHER_NUMBER.fullmatch(node.value):
        raise _NotAllowedError(
            f"line {node.start_mark.line + 1}: {node.value} is another number to YAML; write it "
            "without zeros in front and colons, or in quotes if it is a text"
        )


def _measure(node: yaml.Node, depth: int, sizes: dict[int, int]) -> int:
    """Return how many values a node unfolds to; refuse too many and too deep."""
    if depth > DEEPEST:
        raise _NotAllowedError(f"nested more than {DEEPEST} levels deep")
    if id(node) in sizes:
        return sizes[id(node)]
    below: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        below = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = list(node.value)
    else:
        _check_number(node)
    size = 1 + sum(_measure(value, depth + 1, sizes) for value in below)
    if size > MOST:
        raise _NotAllowedError(f"unfolds to more than {MOST} values")
    sizes[id(node)] = size
    return size
