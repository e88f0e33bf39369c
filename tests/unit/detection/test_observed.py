"""The detectors of observations: their order, and what is asked of them."""

from __future__ import annotations

from typing import Any

import pytest

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config, Observe
from icflow.detection import observed
from icflow.errors import IcflowError

FITS = {"thermal": "2T", "alternative": "1T+IC"}
NETWORK = {"title": "N", "method": "reconstruction_error"}
BOTH = {"title": "+", "method": "combined", "parts": ["fit_discriminant", "delta_cstat"]}


def observing(config: Config, detectors: dict[str, Any] | None = None, **keys: Any) -> Config:
    """Return the configuration with other detectors and keys under `observe`."""
    tree = config.model_dump(mode="json", exclude_none=True)
    tree["observe"]["detectors"] |= detectors or {}
    tree["observe"] |= keys
    return configuration.validate(tree, "test")


def check(config: Config) -> None:
    observe = config.observe
    networks = {name: settings_of.score_observed(config, name) for name in observe.networks()}
    observed.check_detectors(observe, networks)


def observe_of(config: Config, **keys: Any) -> Observe:
    return observing(config, {"both": BOTH}, **keys).observe


def test_the_detector_that_decides_comes_first_then_by_name(config: Config) -> None:
    names = ["both", "cstat_rule", "delta_cstat", "fit_discriminant", "ic_added"]
    assert sorted(observe_of(config).detectors) == names
    assert observed.order(observe_of(config, decides="ic_added")) == [names[-1], *names[:-1]]
    assert observed.order(observe_of(config, decides="both")) == names


def test_what_a_detector_combines_comes_before_it(config: Config) -> None:
    observe = observe_of(config)
    assert list(observed.needed(observe, "both")) == ["fit_discriminant", "delta_cstat", "both"]
    assert list(observed.needed(observe, "ic_added")) == ["ic_added"]


def test_what_combines_one_that_learns_learns(config: Config) -> None:
    observe = observe_of(config)
    learning = {n for n in observe.detectors if observed.learn(observed.needed(observe, n))}
    assert learning == {"both", "fit_discriminant"}


def test_the_default_is_accepted_and_so_is_a_network_without_label_fits(config: Config) -> None:
    check(config)
    check(observing(config, {"mine": {**NETWORK, "network": "ae"}}))


@pytest.mark.parametrize(
    ("detectors", "keys", "words"),
    [
        (
            {"mine": {"title": "M", "method": "guess"}},
            {},
            r"observe\.detectors\.mine\.method is 'guess', allowed: ",
        ),
        (
            {"mine": {"title": "M", "method": "delta_cstat", "thermal": "2T"}},
            {},
            r"observe\.detectors\.mine lacks alternative",
        ),
        (
            {"mine": {"title": "M", "method": "bayes_factor", **FITS}},
            {},
            r"mine\.method is 'bayes_factor', which reads integrals; they are not made for observ",
        ),
        (
            {"mine": {**NETWORK, "network": "cae"}},
            {},
            r"mine\.network: the latents of 'cae' are held to label fits \(kT, norm\), which are",
        ),
        (
            {},
            {"simulations": 39, "false_alarm": 0.4},
            r"simulations is 39, too few for observe\.detectors\.fit_discriminant to learn from "
            r"half of them; allowed: 40 and more",
        ),
        (
            {},
            {"simulations": 199, "decides": "fit_discriminant"},
            r"199, too few for observe\.decides: fit_discriminant learns from half of them.*0\.01; "
            r"allowed: 200 and more",
        ),
    ],
)
def test_what_no_observation_could_be_scored_with_is_refused(
    config: Config, detectors: dict[str, Any], keys: dict[str, Any], words: str
) -> None:
    with pytest.raises(IcflowError, match=words):
        check(observing(config, detectors, **keys))


def test_as_many_simulations_as_are_needed_are_enough(config: Config) -> None:
    check(observing(config, simulations=40, false_alarm=0.4))
    check(observing(config, simulations=200, decides="fit_discriminant"))
    # A detector that does not learn leaves all simulations for the false alarms.
    check(observing(config, simulations=100, decides="delta_cstat"))
