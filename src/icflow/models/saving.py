"""Fits as XSPEC's save files: what `@fit.xcm` loads is the data with the best fit.

The form is that of ``save all`` (`icflow.models.save_file` reads it), but with all
digits, and with the files of every spectrum named, whatever its header says. Every
spectrum is a data group of its own, and every component of a background a source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import icflow
from icflow.config import AtomicData, Free, Link
from icflow.models.expression import Expression, parse
from icflow.models.library import Parameter

# XSPEC's own for a parameter without another, and what marks one that is frozen.
STEP = 0.01
# The factor between the first spectrum and the others, in front of the model.
FACTOR = Parameter("factor", "", 1.0, 0.0, 1e10)


@dataclass(frozen=True)
class SavedComponent:
    """A component of the background of a spectrum.

    Attributes
    ----------
    values : mapping of str to float
        Every parameter of the expression; all are frozen.
    rmf : str
    arf : str or None
    factor : float
        Of the component, in front of its model.
    limits : tuple of float
        Of the factor; it is frozen where both are the same.
    """

    name: str
    expression: Expression
    values: Mapping[str, float]
    rmf: str
    arf: str | None
    factor: float
    limits: tuple[float, float]

    @property
    def model(self) -> tuple[str, str]:
        """What the components of several spectra have in common that are one model."""
        return self.name, self.expression.text


@dataclass(frozen=True)
class SavedSpectrum:
    """A fitted spectrum.

    Attributes
    ----------
    spectrum, rmf : str
        Names of files.
    arf, background : str or None
        The background is a spectrum.
    factor : float
        Of the source, relative to the first spectrum.
    components : sequence of SavedComponent
        Of the background, where it is a description.
    """

    spectrum: str
    rmf: str
    arf: str | None
    background: str | None
    factor: float = 1.0
    components: Sequence[SavedComponent] = ()


@dataclass(frozen=True)
class SavedFit:
    """A model with its best fit to some spectra.

    Attributes
    ----------
    parameters : mapping of str to number, Link or Free
    values : mapping of str to float
        Every parameter.
    energies : sequence of float
        Lowest and highest, keV.
    factors : sequence of float
        Limits of the factors.
    comment : str
        What XSPEC does not know.
    """

    expression: str
    parameters: Mapping[str, float | Link | Free]
    values: Mapping[str, float]
    spectra: Sequence[SavedSpectrum]
    energies: Sequence[float]
    factors: Sequence[float]
    atomic_data: AtomicData
    comment: str = ""


def save_file(fit: SavedFit) -> str:
    """Return a fit as the text of a save file."""
    lines = [f"# icflow {icflow.__version__}"]
    if fit.comment:
        lines.append(f"# {fit.comment}")
    lines += ["", "statistic cstat"]
    sources = _sources(fit.spectra)
    for number, spectrum in enumerate(fit.spectra, start=1):
        lines += _files(number, spectrum, sources)
    low, high = (float(energy) for energy in fit.energies)
    lines += [f"ignore {number}:**-{low} {high}-**" for number in range(1, len(fit.spectra) + 1)]
    lines += ["ignore bad", ""]
    atomic = fit.atomic_data
    lines += [
        "method leven 100 0.01",
        f"abund {atomic.abundances}",
        f"xsect {atomic.cross_sections}",
    ]
    lines += [f"xset APECROOT {atomic.atomdb}", "systematic 0"]
    return "\n".join([*lines, *_model(fit), *_backgrounds(fit.spectra, sources), ""])


def _sources(spectra: Sequence[SavedSpectrum]) -> dict[tuple[str, str], int]:
    """Return the number of the source of every model of the background."""
    models = dict.fromkeys(part.model for spectrum in spectra for part in spectrum.components)
    return {model: number for number, model in enumerate(models, start=2)}


def _files(
    number: int, spectrum: SavedSpectrum, sources: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    """Yield the statements that load a spectrum and its responses."""
    yield f"data {number}:{number} {spectrum.spectrum}"
    yield f"response 1:{number} {spectrum.rmf}"
    yield f"arf 1:{number} {spectrum.arf or 'none'}"
    yield f"backgrnd {number} {spectrum.background or 'none'}"
    for part in spectrum.components:
        place = f"{sources[part.model]}:{number}"
        yield f"response {place} {part.rmf}"
        if part.arf is not None:
            yield f"arf {place} {part.arf}"


def _model(fit: SavedFit) -> Iterator[str]:
    """Yield the statement of the model and a line for each parameter of each data group."""
    expression = parse(fit.expression)
    if len(fit.spectra) == 1:
        yield f"model {fit.expression}"
        yield from _parameters(fit, expression, 1)
        return
    yield f"model constant*({fit.expression})"
    size = 1 + len(expression.parameters)
    for group, spectrum in enumerate(fit.spectra):
        yield _line(FACTOR, spectrum.factor, fit.factors if group else None)
        if group == 0:
            yield from _parameters(fit, expression, 2)
        else:
            yield from (f"= p{number}" for number in range(2, size + 1))


def _parameters(fit: SavedFit, expression: Expression, first: int) -> Iterator[str]:
    """Yield the parameters of the first data group, numbered from `first`."""
    number = {name: first + k for k, name in enumerate(expression.parameters)}
    for name, declared in expression.parameters.items():
        setting = fit.parameters.get(name)
        if isinstance(setting, Link):
            yield f"= p{number[setting.link]}"
        else:
            limits = setting.free if isinstance(setting, Free) else None
            yield _line(declared, fit.values[name], limits)


def _backgrounds(
    spectra: Sequence[SavedSpectrum], sources: Mapping[tuple[str, str], int]
) -> Iterator[str]:
    """Yield the models of the background, each in the data groups that have it.

    What is frozen at the same value in a further group is linked to the first.
    """
    names = [name for name, _ in sources]
    for model, number in sources.items():
        name, text = model
        label = re.sub(r"\W", "_", name, flags=re.ASCII)
        label += f"_{number}" if names.count(name) > 1 else ""
        yield f"model {number}:{label} constant*({text})"
        groups = [
            part for spectrum in spectra for part in spectrum.components if part.model == model
        ]
        for part in groups:
            yield from _component(part, label, groups[0])


def _component(part: SavedComponent, label: str, first: SavedComponent) -> Iterator[str]:
    """Yield the parameters of a component in one data group; `first` is that of the first."""
    low, high = part.limits
    yield _line(FACTOR, part.factor, part.limits if low < high else None)
    for number, (name, declared) in enumerate(part.expression.parameters.items(), start=2):
        same = part is not first and part.values[name] == first.values[name]
        if same and not declared.switch:
            yield f"= {label}:p{number}"
        else:
            yield _line(declared, part.values[name], None)


def _line(declared: Parameter, value: float, limits: Sequence[float] | None) -> str:
    """Return value, step, hard and soft lower, soft and hard upper limits; a step < 0 freezes.

    XSPEC keeps the value alone of a switch.
    """
    if declared.switch:
        return f"{value:>18.12g}"
    low, high = limits or (declared.minimum, declared.maximum)
    step = STEP * abs(value) or STEP
    numbers = (value, step if limits else -step, declared.minimum, low, high, declared.maximum)
    return " ".join(f"{number:>18.12g}" for number in numbers)
