"""A population is named by its priors, never by what a file calls itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow import config as configuration
from icflow.config import Config
from icflow.detection.population import describe

ROOT = Path(__file__).resolve().parents[3]
PLASMA = "TBabs.nH 0.00858, apec.Abundanc 0.1–1, apec.Redshift 0.01–0.1, apec.kT 1–10, apec.norm "
IC = ", powerlaw.PhoIndex 2, powerlaw.norm 0.0002–0.002"


def population(config: Config, *datasets: str) -> str:
    """Return the words for the population of some datasets, by default those of the test."""
    return describe(config.simulated(name) for name in datasets or config.detection.test)


def with_priors(**changes: object) -> Config:
    """Return the default configuration with other priors of its thermal plasmas."""
    tree = configuration.load(ROOT / "config.yaml").model_dump(mode="json", exclude_none=True)
    parameters = {name.replace("__", "."): prior for name, prior in changes.items()}
    above = {"scenarios": {"2T": {"parameters": parameters}, "1T+IC": {"parameters": parameters}}}
    return configuration.validate(configuration.overlay(tree, above), "changed")


def test_the_default_is_the_population_of_the_published_spectra() -> None:
    config = configuration.load(ROOT / "config.yaml")
    assert population(config) == f"that of the published spectra ({PLASMA}0.04–0.165{IC})"


def test_the_population_of_the_text_is_an_overlay() -> None:
    text = configuration.load(ROOT / "config.yaml", ROOT / "config/text-priors.yaml")
    assert population(text) == f"that of the paper's text ({PLASMA}0.01–1{IC})"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"apec__kT": {"uniform": [2.0, 14.0]}}, "apec.kT 2–14 or 1–10, apec.norm 0.04–0.165"),
        (
            {"apec__norm": {"uniform": None, "log_uniform": [0.04, 0.165]}},
            "apec.norm log-uniform 0.04–0.165 or 0.04–0.165,",
        ),
        ({"apec__kT": 5.0}, "apec.kT 5 or 1–10, apec.norm 0.04–0.165"),
        ({"TBabs__nH": 0.01}, "TBabs.nH 0.01, "),
    ],
    ids=["hotter", "log-uniform", "first plasma fixed", "column"],
)
def test_another_population_has_no_name_but_its_priors(
    changes: dict[str, object], words: str
) -> None:
    described = population(with_priors(**changes))
    assert words in described
    assert "that of" not in described


def test_a_class_alone_is_not_the_published_population() -> None:
    config = configuration.load(ROOT / "config.yaml")
    assert population(config, "test_2T") == f"{PLASMA}0.04–0.165"
