"""Results of fits, made up, and their evaluation in little time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from icflow.detection.methods import fit_classifier
from icflow.engines.base import FitResult


def made_up(**given: Any) -> FitResult:
    """Return a good fit of a power law's norm, but for what is given."""
    values: dict[str, Any] = {
        "cstat": 1.0,
        "dof": 1,
        "bins": 2,
        "converged": True,
        "starts": 1,
        "agreeing": 1,
        "iterations": 1,
        "gradient": 0.0,
        "values": {"powerlaw.norm": 1.0},
        "errors": {"powerlaw.norm": 0.1},
        "free": ("powerlaw.norm",),
    }
    return FitResult(**values | given)


@contextmanager
def few_shuffles() -> Iterator[None]:
    """Shuffle features twice, which takes an evaluation longest.

    What the shuffles tell is tested in test_fit_classifier.py.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_classifier, "PERMUTATIONS", 2)
        yield
