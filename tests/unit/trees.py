"""Configurations as trees, with values replaced."""

from __future__ import annotations

import copy
from typing import Any


def changed(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the tree with one value replaced, or added."""
    copied = copy.deepcopy(tree)
    section = copied
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return copied
