"""Fits as XSPEC's save files: what `@fit.xcm` loads is the data with the best fit.

The form is that of ``save all`` (`icflow.models.save_file` reads it), but with all
digits, and with the files of every spectrum named, whatever its header says.
"""

from __future__ import annotations

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
class Fitted:
    """A fitted spectrum.

    Attributes
    ----------
    spectrum, rmf : str
        Names of files.
    arf, background : str or None
    factor : float
        Of the source, relative to the first spectrum.
    """

    spectrum: str
    rmf: str
    arf: str | None
    background: str | None
    factor: float = 1.0


@dataclass(frozen=True)
class Fit:
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
    spectra: Sequence[Fitted]
    energies: Sequence[float]
    factors: Sequence[float]
    atomic_data: AtomicData
    comment: str = ""


def save_file(fit: Fit) -> str:
    """Return a fit as the text of a save file."""
    lines = [f"# icflow {icflow.__version__}"]
    if fit.comment:
        lines.append(f"# {fit.comment}")
    lines += ["", "statistic cstat"]
    for number, spectrum in enumerate(fit.spectra, start=1):
        lines += [
            f"data {number}:{number} {spectrum.spectrum}",
            f"response 1:{number} {spectrum.rmf}",
            f"arf 1:{number} {spectrum.arf or 'none'}",
            f"backgrnd {number} {spectrum.background or 'none'}",
        ]
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
    return "\n".join([*lines, *_model(fit), ""])


def _model(fit: Fit) -> Iterator[str]:
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


def _parameters(fit: Fit, expression: Expression, first: int) -> Iterator[str]:
    """Yield the parameters of the first data group, numbered from `first`."""
    number = {name: first + k for k, name in enumerate(expression.parameters)}
    for name, declared in expression.parameters.items():
        setting = fit.parameters.get(name)
        if isinstance(setting, Link):
            yield f"= p{number[setting.link]}"
        else:
            limits = setting.free if isinstance(setting, Free) else None
            yield _line(declared, fit.values[name], limits)


def _line(declared: Parameter, value: float, limits: Sequence[float] | None) -> str:
    """Return value, step, hard and soft lower, soft and hard upper limits; a step < 0 freezes."""
    low, high = limits or (declared.minimum, declared.maximum)
    step = STEP * abs(value) or STEP
    numbers = (value, step if limits else -step, declared.minimum, low, high, declared.maximum)
    return " ".join(f"{number:>18.12g}" for number in numbers)
