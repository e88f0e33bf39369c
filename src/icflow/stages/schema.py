"""Stage: the reference of the configuration."""

from __future__ import annotations

from icflow import schema


def run(table: bool = False) -> str:
    """Return the JSON schema of the configuration, or its keys as Markdown tables."""
    return schema.markdown() if table else schema.json_text()
