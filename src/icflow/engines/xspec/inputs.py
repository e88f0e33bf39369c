"""The files that XSPEC reads, under short names in a folder: it splits paths at blanks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from scipy.sparse import eye_array

from icflow.config import AtomicData
from icflow.engines.base import Module
from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent
from icflow.models.expression import parse
from icflow.ogip.grouping import group_min
from icflow.ogip.matching import matched
from icflow.ogip.response import Rmf, read_arf, read_rmf, write_arf, write_rmf
from icflow.ogip.spectrum import Spectrum, write_spectrum
from icflow.typing import Counts

# A source as `icflow.engines.xspec.worker` knows it: names of its RMF and, or None, its ARF.
Source = dict[str, str | None]


def link(folder: Path, path: str | Path, name: str) -> str:
    """Give a file a short name in the folder; return that name."""
    (folder / name).symlink_to(Path(path).resolve())
    return name


def own_source(folder: Path, module: Module, rmf: Rmf) -> Source:
    """Return the source that the models of the configuration describe.

    Raises
    ------
    IcflowError
        If the ARF does not belong to the RMF.
    """
    names: Source = {"rmf": link(folder, module.rmf, "source.rmf"), "arf": None}
    if module.arf is None:
        return names
    own = read_arf(module.arf)
    arf, _ = matched(rmf, own)
    names["arf"] = "source.arf"
    if arf is own:
        link(folder, module.arf, "source.arf")
    else:  # XSPEC goes on without an ARF of another number of rows.
        write_arf(folder / "source.arf", arf.energy_lo, arf.energy_hi, arf.area)
    return names


def background_source(folder: Path, component: BackgroundComponent, rmf: Rmf) -> Source:
    """Return a source with the response of a background component, on the grid of `rmf`."""
    name: str = "source.rmf"
    if component.redistribution == "identity":
        name = "identity.rmf"
        write_rmf(folder / name, identity(rmf, component.name))
    elif isinstance(component.redistribution, Path):
        rmf = read_rmf(component.redistribution)
        name = link(folder, component.redistribution, f"{component.name}.rmf")
    if component.area is None:
        return {"rmf": name, "arf": None}
    area = component.effective_area(rmf.energies)
    write_arf(folder / f"{component.name}.arf", rmf.energy_lo, rmf.energy_hi, area)
    return {"rmf": name, "arf": f"{component.name}.arf"}


def background_model(component: BackgroundComponent) -> dict[str, Any]:
    """Return the model of a background component behind a `constant`, its first parameter."""
    expression = parse(f"constant*({component.expression.text})")
    # The names of components may count from 1 further on; values keep their order.
    values = [1.0, *component.values.values()]
    parameters = dict(zip(expression.parameters, values, strict=True))
    return {"expression": expression.text, "parameters": parameters}


def apec_root(folder: Path, atomic_data: AtomicData) -> str:
    """Return the stem of the AtomDB tables, or their version if HEASoft is to find them."""
    version = atomic_data.atomdb
    names = [f"apec_v{version}_{part}.fits" for part in ("coco", "line")]
    paths = [Path(atomic_data.folder) / name for name in names]
    if not all(path.is_file() for path in paths):
        return version
    for path, name in zip(paths, names, strict=True):
        link(folder, path, name)
    return str(folder / f"apec_v{version}")


def write_grouped(path: Path, counts: Counts, minimum: int, exposure: float, rmf: Rmf) -> None:
    """Write a spectrum grouped to at least so many counts a bin."""
    grouping, quality = group_min(counts, minimum)
    spectrum = Spectrum(
        channel=rmf.channel,
        counts=counts.astype("int64"),
        exposure=exposure,
        grouping=grouping,
        quality=quality,
        telescope=rmf.telescope,
        instrument=rmf.instrument,
    )
    write_spectrum(path, spectrum)


def identity(rmf: Rmf, name: str) -> Rmf:
    """Return the redistribution with channel = energy bin on the grid of `rmf`.

    Raises
    ------
    IcflowError
        If it has not as many channels as energy bins; `name` names the
        background component that wants it.
    """
    n = len(rmf.channel)
    if len(rmf.energy_lo) != n:
        raise IcflowError(
            f"background component {name}: an identity response needs as many channels "
            f"({n}) as energy bins ({len(rmf.energy_lo)})"
        )
    return replace(rmf, matrix=eye_array(n, format="csr"), digest="")
