"""Whether fits can take the values that spectra are drawn with.

A fit of which every true value lies beyond a limit ends on that limit: its labels are all
the same, or its C says nothing of its model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from icflow.config import Config, Fit, FitModel, Free, Link, Scenario
from icflow.detection.detectors import fits_made
from icflow.errors import IcflowError
from icflow.models.expression import parse
from icflow.models.priors import Prior
from icflow.models.scenario import Setting, complete

# What one component takes from several that it stands for. Their norms add, and those too cool
# to be seen add nothing; its temperature lies between theirs.
SHARED = ("kT", "norm")


@dataclass(frozen=True)
class Alike:
    """A parameter of all components of a kind: its names, those linked to, and their settings."""

    names: list[str]
    roots: list[str]
    settings: list[Setting]

    def bounds(self, together: bool) -> tuple[float, float]:
        """Return the lowest value and the highest, of one of them or of all together."""
        lows, highs = zip(*map(_bounds, self.settings), strict=True)
        return min(lows), sum(highs) if together else max(highs)


def check(config: Config) -> None:
    """Check that every fit can take a value that a spectrum of its datasets is drawn with.

    Models are compared that are made of the same kinds of components; with others in the place
    of its own, a spectrum may look as if it had other parameters.

    Raises
    ------
    IcflowError
        If all spectra of a dataset lie beyond the limits of a parameter.
    """
    _check_fit(config, "fits.label", config.fits.label, config.detection.training)
    for dataset, name in fits_made(config):
        _check_fit(config, f"fits.baseline.{name}", config.fits.baseline[name], dataset)


def _check_fit(config: Config, key: str, fit: Fit, dataset: str) -> None:
    drawn, taken = _alike(config.simulated(dataset)), _alike(config.fits.models[fit.model])
    if _sources(drawn) != _sources(taken):
        return
    for kind, here in drawn.items():
        there = taken.get(kind)
        if there is None or not _is_fitted(there, fit):
            continue
        several = len(here.names) != len(there.names)
        if several and kind[1] not in SHARED:
            continue
        together = several and kind[1] == "norm"
        beyond = _beyond(here.bounds(together), there.bounds(together))
        if beyond:
            raise IcflowError(
                f"{_section(config, dataset, here.roots)}: {' and '.join(here.names)} "
                f"{'are' if len(here.names) > 1 else 'is'} at {beyond} that fits.models."
                f"{fit.model} lets {' and '.join(there.names)} take, so that {key} is right for no "
                f"spectrum of the dataset {dataset!r}; correct the former or widen these limits"
            )


def _is_fitted(parameter: Alike, fit: Fit) -> bool:
    """Tell whether a fit varies a parameter, and freezes it at the truth in no component."""
    if not {*parameter.names, *parameter.roots}.isdisjoint(fit.at_truth):
        return False
    return any(isinstance(setting, Free) for setting in parameter.settings)


def _beyond(drawn: tuple[float, float], taken: tuple[float, float]) -> str:
    """Say how a range lies wholly outside of another one, if it does."""
    (low, high), (lowest, highest) = drawn, taken
    if low > highest:
        return f"least {low:g}, above {highest:g}, the most"
    return f"most {high:g}, below {lowest:g}, the least" if high < lowest else ""


def _section(config: Config, dataset: str, names: Sequence[str]) -> str:
    """Return the key of the parameters that a dataset has from itself, or from its scenario."""
    own = config.datasets[dataset]
    if any(name in own.parameters for name in names):
        return f"datasets.{dataset}.parameters"
    return f"scenarios.{own.scenario}.parameters"


def _alike(model: Scenario | FitModel) -> dict[tuple[str, str], Alike]:
    """Return the parameters of a model by kind of component and their names within it.

    Components that are not there, with a norm of 0, are left out.
    """
    expression = parse(model.expression)
    settings = complete(expression, model.parameters, "parameters")
    alike: dict[tuple[str, str], Alike] = {}
    for component in expression.components:
        norm = f"{component.name}.norm"
        if norm in settings and settings[_root(settings, norm)] == 0:
            continue
        for name in component.parameters:
            kind = component.definition.name, name.rpartition(".")[2]
            group = alike.setdefault(kind, Alike([], [], []))
            group.names.append(name)
            group.roots.append(_root(settings, name))
            group.settings.append(settings[group.roots[-1]])
    return alike


def _sources(alike: Mapping[tuple[str, str], Alike]) -> set[str]:
    """Return the kinds of additive components."""
    return {kind for kind, parameter in alike if parameter == "norm"}


def _root(settings: Mapping[str, Setting], name: str) -> str:
    setting = settings[name]
    return setting.link if isinstance(setting, Link) else name


def _bounds(setting: Setting) -> tuple[float, float]:
    if isinstance(setting, Prior):
        return setting.bounds
    if isinstance(setting, Free):
        return setting.free[0], setting.free[1]
    assert not isinstance(setting, Link)  # Links have been followed.
    return setting, setting
