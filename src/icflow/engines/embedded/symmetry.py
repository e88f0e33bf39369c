"""Plasmas that can be exchanged for one another without a change of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations, product

import numpy as np

from icflow.engines.embedded.shapes import FIRST, KIND, NORM, PLASMA, SECOND, TABLE, THIRD, Box
from icflow.typing import Booleans, Floats, Integers

PARAMETERS = [NORM, FIRST, SECOND, THIRD]


def exchangeable(
    terms: Integers, box: Box, priors: Mapping[int, object] | None = None
) -> list[Integers]:
    """Return groups of like plasmas: the same table, the same limits of what is their own.

    Parameters
    ----------
    terms : ndarray of int, shape (n_terms, 6)
        As `Shapes.terms`.
    box : Box
        The free parameters.
    priors : mapping, optional
        What else the parameters of like plasmas must share, by position.

    Returns
    -------
    list of ndarray of int, shape (n_plasmas, 6)
        The terms of each group of two or more.
    """
    limits = {int(p): (low, high) for p, low, high in zip(*box, strict=True)}

    def alike(first: Integers, other: Integers) -> bool:
        if first[TABLE] != other[TABLE] or first[FIRST] == other[FIRST]:
            return False
        pairs = [(int(first[c]), int(other[c])) for c in PARAMETERS if first[c] != other[c]]
        return all(
            p in limits
            and limits[p] == limits.get(q)
            and (priors is None or priors.get(p) == priors.get(q))
            for p, q in pairs
        )

    groups: list[list[Integers]] = []
    for term in terms[terms[:, KIND] == PLASMA]:
        group = next((g for g in groups if all(alike(term, other) for other in g)), None)
        if group is None:
            groups.append([term])
        else:
            group.append(term)
    return [np.array(group) for group in groups if len(group) > 1]


def orders(groups: Sequence[Integers], positions: Sequence[int]) -> list[Integers]:
    """Return the orders of parameters in which like plasmas are exchanged, the usual one first.

    Parameters
    ----------
    groups : sequence of ndarray of int
        As of `exchangeable`.
    positions : sequence of int
        The parameters, by position. Exchanges with others among them only are left out.
    """
    place = {p: i for i, p in enumerate(positions)}
    found: list[Integers] = []
    for choice in product(*(permutations(range(len(group))) for group in groups)):
        swap: dict[int, int] = {}
        for group, order in zip(groups, choice, strict=True):
            for column in PARAMETERS:
                swap |= dict(
                    zip(group[:, column].tolist(), group[list(order), column].tolist(), strict=True)
                )
        images = [swap.get(p, p) for p in positions]
        if all(p in place for p in images):
            order_of = np.array([place[p] for p in images], dtype=np.int64)
            if not any(np.array_equal(order_of, other) for other in found):
                found.append(order_of)
    return found


def precedes(points: Floats | Integers, others: Floats | Integers) -> Booleans:
    """Tell which points come before others: by the first coordinate in which they differ."""
    difference = points - others
    first = np.argmax(difference != 0, axis=1)
    return np.asarray(difference[np.arange(len(points)), first] < 0)


def is_first(points: Integers, images: Sequence[Integers]) -> Booleans:
    """Tell which points come before all their images, or are the same."""
    first = np.ones(len(points), dtype=np.bool_)
    for order in images[1:]:
        first &= ~precedes(points[:, order], points)
    return first


def first_image(points: Floats, images: Sequence[Integers]) -> Floats:
    """Return, for each point, the one of its images that comes before the others."""
    best = points
    for order in images[1:]:
        image = points[:, order]
        best = np.where(precedes(image, best)[:, None], image, best)
    return best
