"""Like components of a model, such as two plasmas, in an order of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from icflow.typing import Floats


def in_order(columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return parameters with those of like components in order, the cooler one first.

    Two plasmas are told apart by nothing but their order, which is chance.

    Parameters
    ----------
    columns : mapping of str to (n,) float
        Parameters of n spectra, named ``component.parameter``.
    """
    ordered = dict(columns)
    for like in _like_components(list(columns)):
        order = np.argsort([columns[first] for first in like[0]], axis=0, kind="stable")
        for members in like:
            stacked = np.take_along_axis(np.stack([columns[m] for m in members]), order, axis=0)
            ordered |= dict(zip(members, stacked, strict=True))
    return ordered


def _like_components(names: list[str]) -> list[list[list[str]]]:
    """Return groups of like components: for each parameter, its name in every component.

    The first parameter of a group is the one to order by: a temperature, if
    there is one.
    """
    components: dict[str, list[str]] = {}
    for name in names:
        component, _, parameter = name.partition(".")
        if parameter:
            components.setdefault(component, []).append(parameter)
    groups: dict[str, list[str]] = {}
    for component in components:
        groups.setdefault(re.sub(r"_\d+$", "", component), []).append(component)
    found = []
    for members in groups.values():
        shared = [p for p in components[members[0]] if all(p in components[m] for m in members)]
        if len(members) > 1 and shared:
            shared.sort(key=lambda parameter: parameter != "kT")
            found.append([[f"{m}.{parameter}" for m in members] for parameter in shared])
    return found
