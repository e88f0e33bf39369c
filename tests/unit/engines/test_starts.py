"""Starting points of fits that search for nothing."""

from __future__ import annotations

import math

import pytest

from icflow.config import Free
from icflow.engines.starts import generic, start
from icflow.models.expression import parse


def test_starts_of_parameters_alone() -> None:
    declared = parse("tbabs*(apec+powerlaw)").parameters
    assert generic(declared["apec.kT"], (0.5, 15.0), 0, 1) == pytest.approx(math.sqrt(7.5))
    # XSPEC's default where it is inside the limits, a quarter up where it is below.
    assert generic(declared["apec.Abundanc"], (0.0, 5.0), 0, 1) == 1.0
    assert generic(declared["apec.Redshift"], (0.0, 0.2), 0, 1) == pytest.approx(0.05)
    assert generic(declared["apec.Redshift"], (-0.5, -0.1), 0, 1) == pytest.approx(-0.3)
    assert generic(declared["powerlaw.norm"], (0.0, 1.0), 0, 2) == pytest.approx(1e-3)
    assert generic(declared["apec.norm"], (0.0, 1e24), 0, 1) == 1.0
    assert generic(declared["apec.norm"], (0.5, 2.0), 0, 1) == 0.5


def test_like_components_start_apart() -> None:
    expression = parse("tbabs*(apec+apec)")
    limits = {"apec.kT": (0.5, 15.0), "apec_3.kT": (0.5, 15.0), "apec.norm": (0.0, 100.0)}
    settings = {name: Free(free=list(ends)) for name, ends in limits.items()}
    first = start(expression, settings, limits, 0)
    assert first["apec.kT"] == pytest.approx(0.5 * 30 ** (1 / 3))
    assert first["apec_3.kT"] == pytest.approx(0.5 * 30 ** (2 / 3))
    assert first["apec.norm"] == pytest.approx(0.1)
    given = {**settings, "apec.kT": Free(free=[0.5, 15.0], start=3.0)}
    assert start(expression, given, limits, 0)["apec.kT"] == 3.0
    assert start(expression, given, limits, 1)["apec.kT"] != 3.0
