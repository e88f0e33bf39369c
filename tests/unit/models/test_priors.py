"""Priors: shapes, what they refuse, and that a new one is a class and no more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import yaml
from examples import ROOT, blocks, check_style
from pydantic import Field, TypeAdapter, ValidationError
from scipy.special import ndtr, ndtri

from icflow import provenance
from icflow.models import priors
from icflow.models.priors import SHAPES, LogUniform, Prior, Uniform
from icflow.models.scenario import draw
from icflow.sections import Interval
from icflow.typing import Floats

READER = TypeAdapter(dict[str, Prior])
UNIFORM, LOGARITHMIC = Uniform(uniform=[2.0, 5.0]), LogUniform(log_uniform=[0.01, 3.0])


@pytest.fixture
def bell() -> Iterator[type[Prior]]:
    """A third shape: a normal distribution between two values three deviations out."""

    class Bell(Prior):
        form = "[low, high]"
        bell: Interval = Field(description="three standard deviations below and above the mean")

        @property
        def bounds(self) -> tuple[float, float]:
            low, high = self.bell
            return low, high

        def quantile(self, probability: float | Floats) -> Floats:
            low, high = self.bell
            edge = ndtr(-3.0)
            deviate = ndtri(edge + probability * (1 - 2 * edge))
            return np.asarray(0.5 * (low + high) + (high - low) / 6 * deviate)

    yield Bell
    del SHAPES["bell"]


def read(form: Any) -> Prior:
    """Read the prior of a parameter, as configurations hold it."""
    return TypeAdapter(dict[str, Prior]).validate_python({"x": form})["x"]


def test_a_shape_has_words(bell: type[Prior]) -> None:
    assert UNIFORM.words == "2–5"
    assert LOGARITHMIC.words == "log-uniform 0.01–3"
    assert read({"bell": [1e-4, 2.0]}).words == "bell 0.0001–2"


@pytest.mark.parametrize("prior", [UNIFORM, LOGARITHMIC], ids=lambda prior: type(prior).__name__)
def test_a_shape_agrees_with_itself(prior: Prior) -> None:
    p = np.linspace(0, 1, 41)
    values = prior.quantile(p)
    assert values.shape == p.shape
    assert (values[0], values[-1]) == pytest.approx(prior.bounds, rel=1e-14)
    assert (np.diff(values) > 0).all()
    for one, value in zip(p, values, strict=True):
        # One at a time as all at once, to the last bit.
        assert float(prior.quantile(float(one))) == value
        assert prior.probability(float(value)) == pytest.approx(one, abs=1e-12)
        assert Prior.probability(prior, float(value)) == pytest.approx(one, abs=1e-12)
        assert Prior.slope(prior, float(value)) == pytest.approx(prior.slope(value), rel=1e-4)


def test_draws_are_those_of_before() -> None:
    """To the last bit: they make every simulated spectrum."""
    settings = {"apec.kT": UNIFORM, "apec.norm": LOGARITHMIC}
    drawn = draw(settings, 1, "set", 7)
    assert drawn == PINNED
    low, high = LOGARITHMIC.bounds
    for p in np.random.default_rng(1).random(200).tolist():
        wanted = math.exp(math.log(low) + p * (math.log(high) - math.log(low)))
        assert float(LOGARITHMIC.quantile(p)) == wanted


PINNED = {"apec.kT": 2.5739472586782397, "apec.norm": 0.011206882496182605}


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({}, "exactly one of {uniform: \\[low, high\\]}, {log_uniform"),
        ({"uniform": [1.0, 2.0], "log_uniform": [1.0, 2.0]}, "exactly one of"),
        ({"uniform": [2.0, 1.0]}, "must be below the second"),
        ({"log_uniform": [0.0, 1.0]}, "must be positive"),
        ({"normal": [0.0, 1.0]}, "unknown key"),
        ({"uniform": ["1e-3", 1.0]}, "reads as text"),
    ],
)
def test_what_is_no_prior(form: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        read(form)


def test_a_prior_is_written_as_it_is_read() -> None:
    prior = read({"uniform": None, "log_uniform": [0.01, 3.0]})
    assert prior == LOGARITHMIC
    assert READER.dump_python({"x": prior}, mode="json")["x"] == {"log_uniform": [0.01, 3.0]}
    assert read(prior) is prior


def test_a_third_shape_is_one_class(bell: type[Prior]) -> None:
    prior = read({"bell": [1.0, 7.0]})
    assert isinstance(prior, bell) and not prior.flat
    values = [draw({"x": prior}, 1, "set", index)["x"] for index in range(500)]
    assert np.mean(values) == pytest.approx(4, abs=0.2)
    assert np.std(values) == pytest.approx(1, abs=0.1)
    assert prior.probability(4.0) == pytest.approx(0.5, abs=1e-12)
    assert prior.slope(4.0) == pytest.approx(math.sqrt(2 * math.pi), rel=5e-3)


def test_an_edit_of_a_prior_makes_spectra_and_integrals_out_of_date() -> None:
    for stage in ("simulate", "integrate"):
        modules, waiting = set(), [f"icflow.stages.{stage}", "icflow.engines.embedded.engine"]
        while waiting:
            name = waiting.pop()
            if name not in modules and not name.startswith("icflow.config"):
                modules.add(name)
                waiting += provenance._imports(name)
        assert "icflow.models.priors" in modules
    assert "icflow.models.priors" not in provenance._VOCABULARY


@pytest.fixture
def triangular() -> Iterator[type[Prior]]:
    """The shape that docs/developing.md adds."""
    code, _ = blocks("A prior shape")
    check_style(code, "src/icflow/models/priors.py")
    names = dict(vars(priors))
    exec(code, names)
    yield names["Triangular"]
    del SHAPES["triangular"]


def test_the_shape_of_the_docs_is_a_prior(triangular: type[Prior]) -> None:
    prior = triangular(triangular=[1.0, 10.0])
    test_a_shape_agrees_with_itself(prior)
    assert prior.words == "triangular 1–10"
    _, above = blocks("A prior shape")
    default = yaml.safe_load((ROOT / "config.yaml").read_text())
    parameters = default["scenarios"]["2T"]["parameters"]
    given = yaml.safe_load(above)["scenarios"]["2T"]["parameters"]
    assert read({**parameters["apec.kT"], **given["apec.kT"]}) == prior
