"""The configuration's reference, written from its types: JSON schema and table of keys.

``make schema`` writes both, so that a key is said once, where its type is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icflow.config import Config

_URL = "https://json-schema.org/draft/2020-12/schema"


def json_text() -> str:
    """Return the JSON schema of the configuration as indented text."""
    schema = {"$schema": _URL, **Config.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """Return a Markdown table of every key: its path, type, limits and meaning."""
    schema = Config.model_json_schema()
    rows = ["| key | value | meaning |", "| --- | --- | --- |"]
    for key, node in _keys(schema, schema["$defs"], ""):
        meaning = node.get("description", "").replace("|", "\\|")
        rows.append(f"| `{key}` | {_allowed(node, schema['$defs'])} | {meaning} |")
    return "\n".join(rows) + "\n"


def files(folder: Path) -> dict[Path, str]:
    """Return the files of a folder that are written from the types, and their text."""
    page = folder / "README.md"
    table = re.compile(r"^\| key \| value .*?(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
    text = table.sub(lambda _: markdown().rstrip("\n"), page.read_text(encoding="utf-8"))
    return {folder / "schema.json": json_text(), page: text.rstrip("\n") + "\n"}


def _resolve(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference; the description at the key stands before that of the section."""
    if "$ref" not in node:
        return node
    section: dict[str, Any] = definitions[node["$ref"].rsplit("/", 1)[1]]
    return section | {key: value for key, value in node.items() if key != "$ref"}


def _keys(
    section: dict[str, Any], definitions: dict[str, Any], prefix: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key below a section, sections first; ``<name>`` stands for a name of the user's."""
    for name, unresolved in section.get("properties", {}).items():
        node = _resolve(unresolved, definitions)
        key = prefix + name
        yield key, node
        options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
        node = _resolve(options[0], definitions) if len(options) == 1 else node
        # A section or a list of such: the members of the list may have further keys.
        lists = [o for o in node.get("oneOf", []) if o.get("type") == "array"]
        node = _resolve(lists[0]["items"], definitions) if lists else node
        yield from _keys(node, definitions, f"{key}.")
        member = node.get("additionalProperties")
        if isinstance(member, dict):
            yield from _keys(_resolve(member, definitions), definitions, f"{key}.<name>.")


def _allowed(node: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Say what values a key takes."""
    node = _resolve(node, definitions)
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
    if options:
        return _allowed(options[0], definitions) + ", optional"
    if "oneOf" in node:
        allowed = [_allowed(option, definitions) for option in node["oneOf"]]
        return " or ".join(dict.fromkeys(allowed))
    kind: str = node.get("type", "")
    if kind == "array":
        return f"list of {_allowed(node['items'], definitions)}"
    if kind == "object":
        return "keys below" if "properties" in node else "names and their values"
    return {"string": "text", "boolean": "true or false"}.get(kind, kind) + _limits(node)


def _limits(node: dict[str, Any]) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    limits = [f"{word} {node[key]:g}" for key, word in words.items() if key in node]
    return f", {', '.join(limits)}" if limits else ""


if __name__ == "__main__":
    for path, text in files(Path("config")).items():
        path.write_text(text, encoding="utf-8")
