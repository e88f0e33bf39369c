"""The configuration's reference, written from its types: JSON schema and tables of keys.

``make schema`` writes both, so that a key is said once, where its type is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from icflow.config import Config

_URL = "https://json-schema.org/draft/2020-12/schema"
HEAD = ("| key | value | meaning |", "| --- | --- | --- |")
# What is said of the values of a section.
SECTION = "keys below", "names and their values"


def json_text() -> str:
    """Return the JSON schema of the configuration as indented text."""
    schema = {"$schema": _URL, **Config.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """Return Markdown tables of every key, one for each section: path, values and meaning."""
    schema = Config.model_json_schema()
    definitions = schema["$defs"]
    sections: dict[str, list[str]] = {"": [*HEAD]}
    for key, node in _keys(schema, definitions, ""):
        meaning = node.get("description", "").replace("|", "\\|")
        allowed = _allowed(node, definitions)
        section = key.partition(".")[0]
        if section == key and allowed.endswith(SECTION):
            sections[key] = ["", f"### {key}", "", f"{_capital(meaning)}.", "", *HEAD]
        else:
            place = section if section in sections else ""
            sections[place].append(f"| `{key}` | {allowed} | {meaning} |")
    return "\n".join(line for lines in sections.values() for line in lines) + "\n"


def files(folder: Path) -> dict[Path, str]:
    """Return the files of a folder that are written from the types, and their text."""
    page = folder / "README.md"
    before, _, _ = page.read_text(encoding="utf-8").partition(HEAD[0])
    return {folder / "schema.json": json_text(), page: before + markdown()}


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


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
