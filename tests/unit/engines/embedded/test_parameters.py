"""Parameters in one vector."""

from __future__ import annotations

import numpy as np
import pytest

from icflow.config import FitModel, Free, Link
from icflow.engines.embedded.parameters import Model, build_model

MODEL = FitModel(
    expression="tbabs*(apec+apec)",
    parameters={
        "TBabs.nH": 0.01,
        "apec.kT": Free(free=[1.0, 9.0], start=4.0),
        "apec.Redshift": Free(free=[0.0, 0.2]),
        "apec_3.kT": Free(free=[1.0, 9.0]),
        "apec_3.Redshift": Link(link="apec.Redshift"),
        "apec.norm": Free(free=[0.0, 5.0]),
        "apec_3.norm": Free(free=[0.0, 5.0]),
    },
)


def built(reach: float = 0.1, at_truth: tuple[str, ...] = ()) -> Model:
    backgrounds = dict.fromkeys(["background.A.x", "background.B.x"], (1 - reach, 1 + reach))
    return build_model(MODEL, {"factor.B": (0.7, 1.4)}, backgrounds, at_truth)


def test_factors_stand_behind_the_parameters_of_the_source() -> None:
    model = built()
    assert model.names[-3:] == ("factor.B", "background.A.x", "background.B.x")
    assert "apec_3.Redshift" not in model.names
    assert list(model.position)[-3:] == list(model.names[-3:])
    assert model.position["apec_3.Redshift"] == model.position["apec.Redshift"]
    assert model.start[-3:].tolist() == [1.0, 1.0, 1.0]
    assert model.lower[-3:].tolist() == [0.7, 0.9, 0.9]
    assert model.upper[-3:].tolist() == [1.4, 1.1, 1.1]


@pytest.mark.parametrize(("limits", "start"), [((1.2, 1.5), 1.2), ((0.3, 0.6), 0.6)])
def test_a_factor_that_cannot_be_1_starts_next_to_it(
    limits: tuple[float, float], start: float
) -> None:
    model = build_model(MODEL, {"factor.B": limits}, {"background.B.x": limits}, [])
    assert model.start[-2:].tolist() == [start, start]


def test_what_is_free_has_limits_and_perhaps_a_start() -> None:
    model = built()
    place = model.position
    assert model.start[place["apec.kT"]] == 4.0 and np.isnan(model.start[place["apec_3.kT"]])
    assert model.start[place["TBabs.nH"]] == model.upper[place["TBabs.nH"]] == 0.01
    free = [model.names[p] for p in model.free]
    assert free == [
        "apec.kT",
        "apec.Redshift",
        "apec.norm",
        "apec_3.kT",
        "apec_3.norm",
        "factor.B",
        "background.A.x",
        "background.B.x",
    ]
    box = model.box()
    assert box.free.tolist() == list(model.free)
    assert model.box([place["apec.kT"]]).upper.tolist() == [9.0]


def test_frozen_parameters_are_not_free() -> None:
    model = built(0.0, ("apec.Redshift", "factor.B"))
    free = [model.names[p] for p in model.free]
    assert free == ["apec.kT", "apec.norm", "apec_3.kT", "apec_3.norm"]
    theta = np.arange(len(model.names), dtype=float)
    values = model.values(theta)
    assert values["apec_3.Redshift"] == values["apec.Redshift"]
    assert values["background.B.x"] == len(model.names) - 1


def test_what_is_wrong_is_free_if_its_limits_differ() -> None:
    deviates = {"measured": (1.0, 1.0, 1.0), "deviate.area.3": (0.5, -7.5, 8.5)}
    model = build_model(MODEL, {}, {}, [], deviates)
    assert model.names[-2:] == tuple(deviates)
    assert [model.names[p] for p in model.free][-2:] == ["apec_3.norm", "deviate.area.3"]
    assert model.start[-2:].tolist() == [1.0, 0.5]


def test_a_factor_that_is_that_of_another_is_one_parameter() -> None:
    backgrounds = dict.fromkeys(("background.A.x", "background.B.x"), (0.9, 1.1))
    linked = {"background.B.x": "background.A.x"}
    model = build_model(MODEL, {}, backgrounds, [], linked=linked)
    assert model.position["background.B.x"] == model.position["background.A.x"]
    assert "background.B.x" not in model.names
    assert [model.names[p] for p in model.free][-1] == "background.A.x"
