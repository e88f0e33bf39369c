"""What is drawn wrong of a spectrum."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest, truncnorm

from icflow.config import Link, Systematics
from icflow.errors import IcflowError
from icflow.models.priors import Uniform
from icflow.models.systematics import (
    Deviates,
    as_known,
    background_factors,
    calibration_errors,
    check_components,
    deviates_of,
    measured,
    norms_in_common,
)

NAMES = ("background.lines", "background.cxb")
WRONG = Systematics.model_validate(
    {"area": [[3.0, 0.02], [80.0, 0.1]], "gain": {"slope": 0.01, "offset": 60.0}}
)


@pytest.mark.parametrize("scatter", [0.05, 0.8])
def test_background_factors_scatter_as_much_as_asked_for(scatter: float) -> None:
    scatters = dict.fromkeys(NAMES, scatter)
    drawn = [background_factors(scatters, Deviates(1, "set", index)) for index in range(2000)]
    lines, cxb = (np.array([factors[name] for factors in drawn]) for name in NAMES)
    for factors in (lines, cxb):
        assert (factors > 0).all()
        assert factors.mean() == pytest.approx(1, abs=4 * scatter / np.sqrt(2000))
        assert factors.std() == pytest.approx(scatter, rel=0.15)
    assert abs(np.corrcoef(lines, cxb)[0, 1]) < 0.1


def test_background_factors_are_keyed_by_the_spectrum_and_the_component() -> None:
    one = background_factors(dict.fromkeys(NAMES, 0.1), Deviates(1, "set", 7))
    alone = {NAMES[0]: 0.0, NAMES[1]: 0.1}
    assert background_factors(alone, Deviates(1, "set", 7)) == {NAMES[1]: one[NAMES[1]]}
    for other in ((2, "set", 7), (1, "other", 7), (1, "set", 8)):
        drawn = background_factors(dict.fromkeys(NAMES, 0.1), Deviates(*other))
        assert not set(one.values()) & set(drawn.values())


def test_factors_may_have_one_deviate() -> None:
    wide, narrow, other = "background.A.cxb", "background.B.cxb", "background.B.lines"
    scatters = {wide: 0.5, narrow: 0.1, other: 0.1}
    common = dict.fromkeys((wide, narrow), "background.cxb")
    factors = background_factors(scatters, Deviates(1, "set", 7), common)
    # Of the only module there is it is the same.
    alone = background_factors({"background.cxb": 0.5}, Deviates(1, "set", 7))
    assert factors[wide] == alone["background.cxb"]
    spreads = {name: np.sqrt(np.log1p(scatter**2)) for name, scatter in scatters.items()}
    deviates = {name: np.log(factors[name]) / s + s / 2 for name, s in spreads.items()}
    assert deviates[wide] == pytest.approx(deviates[narrow], rel=1e-12)
    assert abs(deviates[wide] - deviates[other]) > 1e-3
    assert deviates_of(scatters, [("", WRONG)], common) == [
        "background.cxb", other, "area.3", "area.80", "gain.slope", "gain.offset"
    ]  # fmt: skip


def test_factors_of_one_deviate_are_one_norm_if_they_scatter_alike() -> None:
    first, second, other = "background.A.cxb", "background.B.cxb", "background.A.sky"
    common = {first: "background.cxb", other: "background.sky", second: "background.cxb"}
    scatters = {first: 0.3, second: 0.3, other: 0.2, "background.A.lines": 0.1}
    assert norms_in_common(scatters, common) == {second: first}
    with pytest.raises(
        IcflowError, match=r"^background\.A\.cxb scatters by 0\.3 and .*B\.cxb by 0,"
    ):
        norms_in_common(scatters | {second: 0.0}, common)


def test_each_error_of_the_calibration_scatters_as_much_as_asked_for() -> None:
    drawn = [calibration_errors([("", WRONG)], Deviates(1, "set", i)) for i in range(2000)]
    expected = {"area.3": 0.02, "area.80": 0.1, "gain.slope": 0.01, "gain.offset": 0.06}
    assert list(drawn[0]) == list(expected)
    for name, scatter in expected.items():
        values = np.array([errors[name] for errors in drawn])
        assert values.std() == pytest.approx(scatter, rel=0.08)
        assert abs(values.mean()) < 4 * scatter / np.sqrt(2000)
    # Each by itself.
    table = np.array([list(errors.values()) for errors in drawn])
    assert np.abs(np.corrcoef(table.T) - np.eye(4)).max() < 0.1


def test_modules_share_what_is_wrong_with_the_area_but_not_with_the_energy_scale() -> None:
    errors = calibration_errors([("A", WRONG), ("B", WRONG)], Deviates(1, "set", 0))
    assert errors["area.A.80"] == errors["area.B.80"]
    assert errors["gain.A.offset"] != errors["gain.B.offset"]


def test_a_measured_parameter_is_known_as_it_was_measured() -> None:
    truth = {"apec.Redshift": 0.05, "apec.kT": 4.0}
    drawn = [
        measured({"apec.Redshift": 0.002, "other.z": 1.0}, truth, truth, Deviates(1, "set", index))
        for index in range(1000)
    ]
    assert list(drawn[0]) == ["known.apec.Redshift"]
    values = np.array([each["known.apec.Redshift"] for each in drawn])
    assert values.mean() == pytest.approx(0.05, abs=4 * 0.002 / np.sqrt(1000))
    assert values.std() == pytest.approx(0.002, rel=0.1)
    columns = {"apec.Redshift": np.full(1000, 0.05), "apec.kT": np.full(1000, 4.0)}
    known = as_known(columns | {"known.apec.Redshift": values}, ["apec.Redshift", "apec.kT"])
    np.testing.assert_array_equal(known["apec.Redshift"], values)
    np.testing.assert_array_equal(known["apec.kT"], columns["apec.kT"])


def test_what_no_source_can_have_is_measured_again() -> None:
    prior, error = Uniform(uniform=[0.01, 0.1]), {"apec_3.Redshift": 0.01}
    settings = {"apec.Redshift": prior, "apec_3.Redshift": Link(link="apec.Redshift")}
    keys = [Deviates(1, "set", index) for index in range(2000)]
    told, plain = [], []
    for deviates in keys:
        (value,) = measured(error, settings, {"apec_3.Redshift": 0.015}, deviates).values()
        told.append(value)
        plain.append(0.015 + 0.01 * deviates["known.apec_3.Redshift"])
    values, free = np.array(told), np.array(plain)
    inside = free > 0.01
    assert 0.2 < np.mean(~inside) < 0.4
    np.testing.assert_array_equal(values[inside], free[inside])
    assert (values >= 0.01).all()
    # A Gaussian that is cut off there.
    expected = truncnorm(-0.5, 8.5, loc=0.015, scale=0.01)
    assert kstest(values, expected.cdf).pvalue > 0.01
    assert measured(error, settings, {"apec_3.Redshift": 0.015}, keys[3]) == {
        "known.apec_3.Redshift": told[3]
    }


@pytest.mark.parametrize(("value", "sign"), [(0.02, 1), (0.0, 1), (-0.02, -1)])
def test_what_is_fixed_is_measured_on_its_side_of_0(value: float, sign: int) -> None:
    known = np.array(
        [
            measured({"apec.z": 0.02}, {"apec.z": value}, {"apec.z": value}, Deviates(1, "set", i))
            for i in range(300)
        ]
    )
    values = sign * np.array([each["known.apec.z"] for each in known])
    assert values.min() > 0
    assert values.std() > 0.005


def test_refuses_the_scatter_of_a_component_that_is_not_there() -> None:
    with pytest.raises(IcflowError, match=r"^key names 'line', .*allowed: lines, cxb.*did you"):
        check_components("key", {"line": 0.1}, ["lines", "cxb"])
    with pytest.raises(IcflowError, match=r"^key names 'lines', and no description of the back"):
        check_components("key", {"lines": 0.1}, [])
    check_components("key", {"lines": 0.1}, ["lines", "cxb"])
    check_components("key", 0.1, [])
