"""Scenarios: drawing, links, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.config import Free, Link
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.priors import LogUniform, Uniform
from icflow.models.scenario import complete, draw

TWO = parse("tbabs*(apec+apec)")
SETTINGS = {
    "TBabs.nH": 0.00858,
    "apec.kT": Uniform(uniform=[1.0, 10.0]),
    "apec.norm": LogUniform(log_uniform=[0.01, 1.0]),
    "apec_3.kT": Uniform(uniform=[1.0, 10.0]),
    "apec_3.Abundanc": Link(link="apec.Abundanc"),
}


def test_defaults_of_xspec_fill_the_gaps() -> None:
    settings = complete(TWO, SETTINGS, "here")
    assert list(settings) == list(TWO.parameters)
    assert settings["apec.Abundanc"] == 1.0
    assert settings["apec.Redshift"] == 0.0


def test_draws_follow_the_priors() -> None:
    settings = complete(TWO, SETTINGS, "here")
    drawn = [draw(settings, 1, "set", index) for index in range(400)]
    kT = np.array([values["apec.kT"] for values in drawn])
    norm = np.array([values["apec.norm"] for values in drawn])
    assert 1 <= kT.min() < 1.2 and 9.8 < kT.max() <= 10
    assert abs(np.median(norm) - 0.1) < 0.03
    assert all(values["apec_3.Abundanc"] == values["apec.Abundanc"] for values in drawn)
    assert abs(np.corrcoef(kT, [values["apec_3.kT"] for values in drawn])[0, 1]) < 0.15


def test_a_new_prior_leaves_the_other_draws_alone() -> None:
    before = draw(complete(TWO, SETTINGS, "here"), 1, "set", 7)
    more = {**SETTINGS, "apec.Abundanc": Uniform(uniform=[0.1, 1.0])}
    after = draw(complete(TWO, more, "here"), 1, "set", 7)
    assert after["apec.kT"] == before["apec.kT"]
    assert after["apec.Abundanc"] != before["apec.Abundanc"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"apec.kt": 1.0}, r"here\.apec\.kt: .* has no such parameter; allowed: TBabs\.nH"),
        ({"apec.kT": 100.0}, r"here\.apec\.kT: 100 lies outside XSPEC's hard limits, 0\.008 to 64"),
        ({"apec.kT": Uniform(uniform=[1.0, 65.0])}, r"65 lies outside"),
    ],
)
def test_refuses(given: dict[str, float], reason: str) -> None:
    with pytest.raises(IcflowError, match=reason):
        complete(TWO, given, "here")


def test_switches_have_any_value_and_are_not_fitted() -> None:
    # The energy that the indices of logpar refer to.
    expression = parse("logpar")
    assert complete(expression, {}, "here")["logpar.pivotE"] == 1.0
    assert complete(expression, {"logpar.pivotE": 20.0}, "here")["logpar.pivotE"] == 20.0
    for setting in (Free(free=[1.0, 2.0]), Uniform(uniform=[1.0, 2.0])):
        with pytest.raises(IcflowError, match=r"here\.logpar\.pivotE: is a switch"):
            complete(expression, {"logpar.pivotE": setting}, "here")
