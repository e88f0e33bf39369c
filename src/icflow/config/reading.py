"""Reading configurations and settings, and saying what is wrong with them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from icflow.config.tree import Config, overlay
from icflow.documents import read_yaml
from icflow.errors import IcflowError, did_you_mean
from icflow.sections import Settings

# Said of keys too many or too few, as the file of an earlier version has, or an overlay alone.
_OTHER_LAYOUT = (
    "; config.yaml of this version holds every key: compare with it, or give it first and a file "
    "with only what differs after it"
)


# Stands for what is to be filled in.
FILL_IN = "???"


def load(*paths: str | os.PathLike[str]) -> Config:
    """Read a configuration, later files laid over earlier ones key by key.

    Raises
    ------
    IcflowError
        If a file is missing or not YAML, or a key is unknown or its value is
        not allowed; the message names every such key.
    """
    return validate(read_layers(paths), ", ".join(str(path) for path in paths))


def read_layers(paths: Iterable[str | os.PathLike[str]]) -> dict[str, Any]:
    """Read files of settings, later ones laid over earlier ones.

    Raises
    ------
    IcflowError
        If a file is missing or not YAML.
    """
    tree: dict[str, Any] = {}
    for path in paths:
        tree = overlay(tree, read_tree(path))
    return tree


def validate(tree: Any, source: str) -> Config:
    """Check a configuration tree; `source` names it in errors.

    Raises
    ------
    IcflowError
        As `load`.
    """
    unfilled = list(_unfilled(tree, ""))
    if unfilled:
        raise IcflowError(
            f"{source}: fill in {', '.join(unfilled)}, in place of {FILL_IN}; what each means is "
            "said beside it"
        )
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        kinds = {item["type"] for item in error.errors(include_url=False)}
        other = _OTHER_LAYOUT if kinds & {"missing", "unknown_keys"} else ""
        raise IcflowError(f"{source}: {explain(error)}{other}") from None


def _unfilled(tree: Any, key: str) -> Iterator[str]:
    """Yield the keys of a tree whose values are to be filled in."""
    if tree == FILL_IN:
        yield key
    elif isinstance(tree, Mapping):
        for name, below in tree.items():
            yield from _unfilled(below, f"{key}.{name}".lstrip("."))


def from_json(model: type[Settings], text: str) -> Settings:
    """Read one stage's settings from the JSON that the workflow hands over."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise IcflowError(f"--settings is not JSON: {error}") from None
    return checked(model, tree, "--settings")


def checked(model: type[Settings], tree: Any, source: str) -> Settings:
    """Return checked settings; `source` names them in errors."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise IcflowError(f"{source}: {explain(error)}") from None


def read_tree(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a file of settings, a mapping of keys to values."""
    tree = read_yaml(Path(path))
    if not isinstance(tree, dict):
        raise IcflowError(f"{path}: holds no settings; expected a mapping of keys to values")
    return tree


_MOST_ERRORS = 5


def explain(error: ValidationError) -> str:
    """Return the errors of a validation in one line: key, value, what is allowed."""
    messages: list[str] = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"] if not str(part).startswith("<"))
        if item["type"] == "unknown_keys":
            messages += _unknown(key, **item["ctx"])
        elif item["type"] == "missing":
            messages.append(f"{key}: this key is missing")
        else:
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] != "value_error":
                message = f"is {_brief(item['input'])}; {message[0].lower() + message[1:]}"
            messages.append(f"{key}: {message}" if key else message)
    more = len(messages) - _MOST_ERRORS
    return "; ".join(messages[:_MOST_ERRORS]) + (f"; and {more} more" if more > 0 else "")


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unknown(section: str, unknown: list[str], allowed: list[str]) -> Iterator[str]:
    """Yield what is said of each unknown key of a section, the allowed ones once."""
    said = f" (allowed: {', '.join(allowed)})"
    for name in unknown:
        key = f"{section}.{name}" if section else name
        yield f"{key}: unknown key{did_you_mean(name, allowed, ', ')}{said}"
        said = ""
