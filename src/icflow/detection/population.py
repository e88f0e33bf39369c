"""The population that spectra are drawn from, in words that its priors say."""

from __future__ import annotations

import re
from collections.abc import Iterable

from icflow.config import Link, Scenario
from icflow.detection.published import POPULATIONS
from icflow.models.priors import Prior

# What PyXspec adds to the name of a component whose model the expression has already: apec_3.
REPEATED = re.compile(r"_\d+(?=\.)")


def describe(scenarios: Iterable[Scenario]) -> str:
    """Return what the spectra of some scenarios are drawn from, and whose population that is.

    Parameters of like components share an entry, such as ``apec.norm``; links
    have none. A published population has its name, any other its priors alone.

    Parameters
    ----------
    scenarios : iterable of Scenario
        The models of the datasets, with the parameters that these draw themselves.
    """
    given: dict[str, list[str]] = {}
    for scenario in scenarios:
        for name, setting in scenario.parameters.items():
            if not isinstance(setting, Link):
                words = setting.words if isinstance(setting, Prior) else f"{setting:g}"
                ranges = given.setdefault(REPEATED.sub("", name), [])
                ranges += [words] * (words not in ranges)
    parameters = {name: " or ".join(ranges) for name, ranges in sorted(given.items())}
    words = ", ".join(f"{name} {ranges}" for name, ranges in parameters.items())
    whose = next((name for name, known in POPULATIONS.items() if known == parameters), None)
    return words if whose is None else f"{whose} ({words})"
