"""The detectors of observations: in which order they score, and what they must have."""

from __future__ import annotations

import math
from collections.abc import Mapping

from icflow.config import Detector, Observe
from icflow.detection import detectors
from icflow.detection.base import FITS, RATIOS
from icflow.detection.fits import FEWEST
from icflow.errors import IcflowError
from icflow.settings import ScoreSettings

SECTION = "observe.detectors"


def order(observe: Observe) -> list[str]:
    """Return the detectors, the one that decides first, then by name."""
    return sorted(observe.detectors, key=lambda name: (name != observe.decides, name))


def needed(observe: Observe, name: str) -> dict[str, Detector]:
    """Return a detector after those that it combines."""
    return {
        part: observe.detectors[part] for part in [*(observe.detectors[name].parts or []), name]
    }


def learn(needed: Mapping[str, Detector]) -> bool:
    """Tell whether one of some detectors learns from spectra."""
    return any(detectors.METHODS[detector.method].learns for detector in needed.values())


def check_detectors(observe: Observe, networks: Mapping[str, ScoreSettings]) -> None:
    """Check that every detector can score observations, whichever these are.

    Parameters
    ----------
    networks : mapping
        What scores are made with, by network.

    Raises
    ------
    IcflowError
        If its method is unknown, lacks an input, reads what is not made for
        observations, or needs a network that cannot be trained.
    """
    for name, detector in observe.detectors.items():
        method = detectors.method_of(name, detector, SECTION)
        if detector.network is not None:
            check_network(networks[detector.network], f"{SECTION}.{name}.network")
        if method.reads not in (FITS, RATIOS):
            raise IcflowError(
                f"{SECTION}.{name}.method is {detector.method!r}, which reads {method.reads}; they "
                "are not made for observations: choose a method that reads fits, a network or a "
                "ratio"
            )
        if method.learns and observe.simulations < 2 * FEWEST:
            raise IcflowError(
                f"observe.simulations is {observe.simulations}, too few for {SECTION}.{name} to "
                f"learn from half of them; allowed: {2 * FEWEST} and more"
            )
    least = 2 * math.ceil(1 / observe.false_alarm)
    if learn(needed(observe, observe.decides)) and observe.simulations < least:
        raise IcflowError(
            f"observe.simulations is {observe.simulations}, too few for observe.decides: "
            f"{observe.decides} learns from half of them, and the others allow no false-alarm "
            f"probability below observe.false_alarm, {observe.false_alarm:g}; allowed: {least} "
            "and more"
        )


def check_network(score: ScoreSettings, key: str) -> None:
    """Check that a network can be trained for an observation.

    Raises
    ------
    IcflowError
        If it needs fits of its training spectra; `key` names the network.
    """
    train = score.train
    fitted = [name for name, source in train.labels.items() if "fit:" in source]
    if fitted:
        raise IcflowError(
            f"{key}: the latents of {train.network!r} are held to label fits "
            f"({', '.join(fitted)}), which are not made for observations; name a network with "
            "constraint 0"
        )
