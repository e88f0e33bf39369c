"""Confidence intervals by profile: where C, minimised over all else, has risen by delta.

XSPEC's ``error`` command does the same. Unlike an error from the curvature at
the minimum, an interval found this way knows of limits, of kinks and of other
minima.
"""

from __future__ import annotations

import math
from collections.abc import Callable

NEAR = 0.02  # relative to delta: how precisely the rise of C is met
WIDTH = 1e-3  # relative to its distance from the best fit: how precisely an end is found
MOST_STEPS = 30
LEAST_GROWTH, MOST_GROWTH = 1.3, 4.0  # of a step outwards


def end_of_interval(
    rise: Callable[[float], float], best: float, first: float, limit: float, delta: float
) -> float:
    """Return where `rise` reaches `delta`, or `limit` if it does not.

    Parameters
    ----------
    rise : callable
        C, minimised over all other parameters, above its minimum.
    best : float
        Where C has its minimum.
    first : float
        First guess of the end; its side of `best` is the one looked at.
    limit : float
        Hard limit on that side.
    """
    inner, inner_rise = best, 0.0
    outer = min(first, limit) if limit > best else max(first, limit)
    for _ in range(MOST_STEPS):
        outer_rise = rise(outer)
        if outer_rise >= delta * (1 - NEAR) or outer == limit:
            break
        inner, inner_rise = outer, max(outer_rise, 0.0)
        growth = math.sqrt(delta / max(outer_rise, 1e-9)) * 1.1
        reach = (outer - best) * min(max(growth, LEAST_GROWTH), MOST_GROWTH)
        outer = min(best + reach, limit) if limit > best else max(best + reach, limit)
    if outer_rise < delta * (1 - NEAR):
        return limit
    # Between the two, C rises like a parabola: its root is nearly a straight line.
    for step in range(MOST_STEPS):
        if abs(outer_rise - delta) <= NEAR * delta or abs(outer - inner) <= WIDTH * abs(
            outer - best
        ):
            break
        low, high = math.sqrt(inner_rise), math.sqrt(outer_rise)
        share = (math.sqrt(delta) - low) / (high - low)
        # Every third step halves the bracket, whatever the shape.
        middle = inner + (0.5 if step % 3 == 2 else min(max(share, 0.05), 0.95)) * (outer - inner)
        middle_rise = max(rise(middle), 0.0)
        if middle_rise < delta * (1 - NEAR):
            inner, inner_rise = middle, middle_rise
        else:
            outer, outer_rise = middle, middle_rise
    return outer
