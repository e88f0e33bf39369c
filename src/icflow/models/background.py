"""The background: additional spectra, each folded through a response of its own."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import yaml
from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from icflow.config import explain
from icflow.documents import read_yaml
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.models.expression import Expression, parse
from icflow.models.scenario import complete, resolve
from icflow.ogip.binary_table import is_fits, read_tables
from icflow.ogip.kinds import describe
from icflow.ogip.matching import rows_at, same_rows
from icflow.ogip.response import MOST_AREA, read_arf
from icflow.sections import Number, Positive, Section, check_name
from icflow.typing import Floats

_Name = Annotated[str, AfterValidator(lambda name: check_name(name, f"{name!r}: such names"))]
NotNegative = Annotated[Number, Field(ge=0)]
# Energy (keV) and area (cm²); no energy and no area is as large.
Node = Annotated[list[Annotated[Positive, Field(lt=MOST_AREA)]], Field(min_length=2, max_length=2)]


class AreaNodes(Section):
    """An effective area given by nodes: energies in keV, areas in cm²."""

    nodes: Annotated[list[Node], Field(min_length=2)]
    interpolation: Literal["loglog", "transmission"]
    above: Positive | None = None

    @model_validator(mode="after")
    def _in_order(self) -> AreaNodes:
        energies, areas = zip(*self.nodes, strict=True)
        if any(low >= high for low, high in itertools.pairwise(energies)):
            raise ValueError("energies of the nodes must increase")
        if self.interpolation == "transmission" and max(areas) >= 1:
            raise ValueError(f"a transmission is below 1, but the nodes reach {max(areas)}")
        return self


class AreaFile(Section):
    """An effective area read from an ARF."""

    file: str


class ResponseFile(Section):
    """A redistribution read from an RMF."""

    file: str


def _form(value: Any) -> str:
    """Tell which form a response is given in; brackets keep these apart from keys in errors."""
    if not isinstance(value, Mapping):
        return "<word>"
    return "<nodes>" if "nodes" in value else "<file>"


def _entry(value: Any) -> str:
    return "<word>" if isinstance(value, str) else "<number>"


_Entry = Annotated[
    Annotated[str, Tag("<word>")] | Annotated[Number, Tag("<number>")], Discriminator(_entry)
]


def _folding(value: Any) -> str:
    return "<file>" if isinstance(value, Mapping) else "<word>"


Redistribution = Annotated[
    Annotated[Literal["source", "identity"], Tag("<word>")]
    | Annotated[ResponseFile, Tag("<file>")],
    Discriminator(_folding),
]
Area = Annotated[
    Annotated[Literal["none"], Tag("<word>")]
    | Annotated[AreaNodes, Tag("<nodes>")]
    | Annotated[AreaFile, Tag("<file>")],
    Discriminator(_form),
]


class _Component(Section):
    redistribution: Redistribution
    area: Area
    expression: str | None = None
    parameters: dict[str, Number] | None = None
    sum: list[dict[str, _Entry]] | None = None
    range: NotNegative | None = None
    detectors: Annotated[list[NotNegative], Field(min_length=1)] | None = None
    focused: bool = False

    @model_validator(mode="after")
    def _one_form(self) -> _Component:
        if (self.sum is None) == (self.expression is None):
            raise ValueError("give either sum, or expression with parameters")
        return self


class _File(Section):
    name: str
    components: Annotated[dict[_Name, _Component], Field(min_length=1)]


@dataclass(frozen=True)
class BackgroundComponent:
    """One background spectrum: a model with all parameters fixed, and its response.

    Attributes
    ----------
    redistribution : {"source", "identity"} or Path
        The RMF of the spectrum, channel = model bin, or another RMF with the same channels.
    area : None, AreaNodes or Path
        Effective area; None is 1 cm² at every energy.
    range : float, optional
        Fraction by which fits let the norm leave the given one; None for what the fit says.
    detectors : tuple of float
        Relative norm of each detector of the module when all of it is seen; empty where the norm
        scales with the area alone.
    focused : bool
        Whether it comes through the optics, so that what is wrong with their area is wrong with it.
    """

    name: str
    expression: Expression
    values: dict[str, float]
    redistribution: str | Path
    area: AreaNodes | Path | None
    range: float | None = None
    detectors: tuple[float, ...] = ()
    focused: bool = False

    def limits(self, otherwise: float | Mapping[str, float]) -> tuple[float, float]:
        """Return the limits of the factor of the norm.

        Parameters
        ----------
        otherwise : float or mapping
            Its range if it has none itself; of components by name, 0 for those left out.
        """
        given = otherwise.get(self.name, 0.0) if isinstance(otherwise, Mapping) else otherwise
        reach = given if self.range is None else self.range
        return max(1 - reach, 0.0), 1 + reach

    @property
    def files(self) -> tuple[Path, ...]:
        """The responses that it names."""
        return tuple(part for part in (self.redistribution, self.area) if isinstance(part, Path))

    def effective_area(self, energies: Floats) -> Floats:
        """Return the area in cm², shape (n_bins,), on bins with the given edges (keV)."""
        if self.area is None:
            return np.ones(len(energies) - 1)
        if isinstance(self.area, Path):
            arf = read_arf(self.area)
            if not same_rows(arf.energies, energies):
                row, there = rows_at(arf, energies)
                if there.all():
                    return arf.area[row]
                raise IcflowError(
                    f"{self.area}: has other energy bins ({len(arf.area)}) than the response "
                    f"({len(energies) - 1}); regenerate the ARF on the grid of the RMF"
                )
            return arf.area
        return _interpolate(self.area, 0.5 * (energies[:-1] + energies[1:]))


def _interpolate(area: AreaNodes, centres: Floats) -> Floats:
    energy, value = np.array(area.nodes).T
    if area.interpolation == "transmission":
        depth = np.interp(np.log(centres), np.log(energy), np.log(-np.log(value)))
        result = np.exp(-np.exp(depth))
    else:
        result = np.exp(np.interp(np.log(centres), np.log(energy), np.log(value)))
    if area.above is not None:
        result[centres > area.above] = 0.0
    return np.asarray(result)


def read_background(path: str | Path) -> tuple[BackgroundComponent, ...]:
    """Read a background file (format: ``resources/background/nustar_fpma.yaml``).

    Raises
    ------
    IcflowError
        If the file is missing, not YAML, or a key or a model is not allowed.
    """
    path = Path(path)
    if is_fits(path):
        raise IcflowError(
            f"{path}: is {describe(read_tables(path))}; a background is described as a model here, "
            "as in resources/background/nustar_fpma.yaml"
        )
    content = path.read_bytes() if path.is_file() else b""
    return _components(path, hashlib.sha256(content).digest())


def named_files(path: str | Path) -> list[Path]:
    """Return the response files that a background file names; errors as of `read_background`."""
    return [file for component in read_background(path) for file in component.files]


# Checks, foldings and digests ask for the same files.
@lru_cache(maxsize=32)
def _components(path: Path, content: bytes) -> tuple[BackgroundComponent, ...]:
    """Return what a file with the SHA-256 `content` describes."""
    try:
        tree = _File.model_validate(_mapping(path))
    except ValidationError as error:
        raise IcflowError(f"{path}: {explain(error)}") from None
    return tuple(_build(name, component, path) for name, component in tree.components.items())


def _mapping(path: Path) -> dict[str, Any]:
    """Read a file of keys and values."""
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise IcflowError(
            f"{path}: is neither a spectrum nor the description of a background, which has the "
            "keys `name` and `components`, as resources/background/nustar_fpma.yaml"
        )
    return tree


def _build(name: str, component: _Component, path: Path) -> BackgroundComponent:
    where = f"{path}: components.{name}"
    try:
        if component.sum is None:
            assert component.expression is not None
            expression, given = parse(component.expression), dict(component.parameters or {})
        else:
            expression, given = _from_sum(component.sum, where)
        values = resolve(complete(expression, given, f"{where}.parameters"), {})
    except IcflowError as error:
        raise IcflowError(f"{where}: {error}" if where not in str(error) else str(error)) from None
    for part in expression.components:
        norm = f"{part.name}.norm"
        if norm in values and norm not in given:
            raise IcflowError(f"{where}: {norm} is not given; give the norm of every model")
    redistribution: str | Path | ResponseFile = component.redistribution
    if isinstance(redistribution, ResponseFile):
        redistribution = path.parent / redistribution.file
    area: AreaNodes | Path | None = None
    if isinstance(component.area, AreaFile):
        area = path.parent / component.area.file
    elif isinstance(component.area, AreaNodes):
        area = component.area
    detectors = tuple(component.detectors or ())
    if component.detectors is not None and not any(detectors):
        raise IcflowError(f"{where}.detectors: no detector sees it; give a number above 0 for one")
    return BackgroundComponent(
        name,
        expression,
        values,
        redistribution,
        area,
        component.range,
        detectors,
        component.focused,
    )


def _from_sum(
    models: list[dict[str, str | float]], where: str
) -> tuple[Expression, dict[str, float]]:
    """Turn a list of models with their parameters into an expression with parameters."""
    names = [model.get("model") for model in models]
    if not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise IcflowError(f"{where}.sum: every entry needs `model:`, the name of one XSPEC model")
    expression = parse("+".join(map(str, names)))
    given: dict[str, float] = {}
    for component, model in zip(expression.components, models, strict=True):
        for key, value in model.items():
            if key != "model" and isinstance(value, str):
                raise IcflowError(f"{where}.sum: {component.name}.{key} is {value!r}, not a number")
            if not isinstance(value, str):
                given[f"{component.name}.{key}"] = value
    return expression, given


# --- writing ---------------------------------------------------------------------------


def of_each(path: Path, spectra: Sequence[Path]) -> list[Path]:
    """Return a name of a background file for each of some spectra, which each have their own.

    For a single spectrum that is `path`; with ``bgdA.pha`` and ``bgdB.pha`` it is
    ``background-bgdA.yaml`` and ``background-bgdB.yaml``, numbered where spectra have one name.
    """
    if len(spectra) == 1:
        return [path]
    stems = [spectrum.name.partition(".")[0] for spectrum in spectra]
    names = [
        f"{stem}-{number}" if stems.count(stem) > 1 else stem
        for number, stem in enumerate(stems, start=1)
    ]
    return [path.with_name(f"{path.stem}-{name}{path.suffix}") for name in names]


def write_background(
    path: str | Path, name: str, components: Iterable[BackgroundComponent], head: Iterable[str] = ()
) -> None:
    """Write a background file; responses are named relative to its folder.

    Parameters
    ----------
    head : iterable of str
        Comments on top, a line each.
    """
    folder = Path(path).parent
    tree = {"name": name, "components": {c.name: _tree(c, folder) for c in components}}
    text = yaml.safe_dump(tree, default_flow_style=None, sort_keys=False, width=99)
    write_text(path, "".join(f"# {line}\n" for line in head) + text)


def _tree(component: BackgroundComponent, folder: Path) -> dict[str, Any]:
    """Return a component as the file states it."""

    def named(path: Path) -> dict[str, str]:
        return {"file": os.path.relpath(path, folder)}

    response, area = component.redistribution, component.area
    tree: dict[str, Any] = {
        "redistribution": named(response) if isinstance(response, Path) else response,
        "area": "none" if area is None else named(area) if isinstance(area, Path) else area,
    }
    if isinstance(area, AreaNodes):
        tree["area"] = area.model_dump(exclude_none=True)
    if component.range is not None:
        tree["range"] = component.range
    if component.detectors:
        tree["detectors"] = list(component.detectors)
    if component.focused:
        tree["focused"] = True
    return tree | _models(component)


def _models(component: BackgroundComponent) -> dict[str, Any]:
    """Return the model as a sum, where it is one, or as an expression with its parameters."""
    expression, values = component.expression, component.values
    if any(term.factors for term in expression.terms):
        return {"expression": expression.text, "parameters": dict(values)}
    return {
        "sum": [
            {"model": part.definition.name}
            | {name.rpartition(".")[2]: values[name] for name in part.parameters}
            for part in expression.components
        ]
    }
