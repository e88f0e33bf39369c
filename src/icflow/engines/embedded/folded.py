"""Expected count rates of single terms, folded once and kept on disk.

A fit evaluates its model thousands of times. What it needs of XSPEC's model
functions is tabulated here: `apec` at the temperatures of its tables and on a
grid in redshift, other models at their fixed parameters or along one that
varies. All tables hold counts/s per channel for norm 1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.files import atomic_path, canonical_json, locked
from icflow.models import library, plasma
from icflow.models.background import BackgroundComponent
from icflow.models.expression import Component, Term
from icflow.ogip.response import Arf, Rmf, check_same_grid, read_arf, read_rmf
from icflow.resources import cache_folder
from icflow.statistic import cubic
from icflow.typing import AnyArray, Floats, Integers, Singles

# Arrays by name, as a cache file holds them.
Arrays = dict[str, AnyArray]

# Part of the key of every cached table: raise it when their content changes.
FORMAT = 1
# Tables that are kept in memory.
RECENT = 4

# Above the lines the continuum of AtomDB is piecewise linear: at 80 keV its kinks, blurred by the
# response, are interpolated to 1e-5 with this spacing.
SMOOTH_STEP = 0.0015
SEARCH_STEP = 0.005
AVERAGED = 8  # redshifts that a node of the searching table averages over
# Nodes along a curve are added until halving their spacing changes the rates by less than this.
CURVE_TOLERANCE = 1e-6
CURVE_NODES = (17, 33, 65, 129, 257, 513)
CURVE_PROBES = 4


class Response:
    """An RMF with an ARF, able to fold.

    Attributes
    ----------
    energies : ndarray, shape (n_energies + 1,)
        Edges of the model bins, keV.
    area : ndarray, shape (n_energies,)
        Effective area, cm²; 1 where there is no ARF.
    """

    def __init__(self, rmf: Rmf, arf: Arf | None) -> None:
        if arf is not None:
            check_same_grid(rmf, arf)
        self.rmf = rmf
        self.energies = rmf.energies
        self.n_channels = len(rmf.channel)
        self.area = np.ones(len(self.energies) - 1) if arf is None else arf.area
        self.key = hashlib.sha256(
            b"".join(
                np.ascontiguousarray(part).tobytes()
                for part in (rmf.matrix.data, rmf.matrix.indices, self.energies, self.area)
            )
        ).hexdigest()
        self._transposed = rmf.matrix.T.tocsr()

    def fold(self, photons: Floats, area: Floats | None = None) -> Floats:
        """Return counts/s per channel.

        Parameters
        ----------
        photons : ndarray, shape (..., n_energies)
            Photons/cm²/s per model bin.
        area : ndarray, shape (n_energies,), optional
            Instead of the ARF, cm².
        """
        detected = photons * (self.area if area is None else area)
        if detected.ndim == 1:
            return np.asarray(self._transposed @ detected)
        flat = detected.reshape(-1, detected.shape[-1])
        return np.asarray(flat @ self.dense).reshape(*detected.shape[:-1], self.n_channels)

    def coarse_bins(self, channels: slice) -> Integers:
        """Return the first channels of bins that are half as wide as the resolution.

        Relative to the first of `channels`. What differs between two smooth
        models is as good as whole in such bins, and they are far fewer.
        """
        half = self._half_widths
        starts = [channels.start]
        while (after := starts[-1] + max(1, int(half[starts[-1]]))) < channels.stop:
            starts.append(after)
        return np.array(starts, dtype=np.int64) - int(channels.start)

    @cached_property
    def _half_widths(self) -> Floats:
        """Half the resolution at each channel, in channels, shape (n_channels,)."""
        matrix = self.rmf.matrix
        filled = np.flatnonzero(np.diff(matrix.indptr))
        first, number = matrix.indptr[filled], np.diff(matrix.indptr)[filled]
        peak = np.maximum.reduceat(matrix.data, first)
        high = matrix.data >= 0.5 * np.repeat(peak, number)
        width = np.add.reduceat(high.astype(float), first)
        centre = np.add.reduceat(high * matrix.indices, first) / width
        order = np.argsort(centre, kind="stable")
        return np.interp(np.arange(self.n_channels), centre[order], width[order]) / 2

    @property
    def dense(self) -> Floats:
        """The redistribution matrix in full, shape (n_energies, n_channels)."""
        return np.asarray(self.rmf.matrix.toarray())


def load_response(rmf: str | Path, arf: str | Path | None) -> Response:
    """Read an RMF and, if there is one, an ARF on the same grid."""
    return Response(read_rmf(rmf), None if arf is None else read_arf(arf))


def fold_background(component: BackgroundComponent, response: Response) -> Floats:
    """Return the counts/s per channel of one background component, shape (n_channels,)."""
    if isinstance(component.redistribution, Path):
        response = _same_channels(Response(read_rmf(component.redistribution), None), response)
    photons = np.zeros(len(response.energies) - 1)
    for term in component.expression.terms:
        norm = component.values[f"{term.additive.name}.norm"]
        photons += norm * term_photons(term, component.values, response.energies)
    area = component.effective_area(response.energies)
    if component.redistribution != "identity":
        return response.fold(photons, area)
    if len(photons) != response.n_channels:
        raise IcflowError(
            f"background component {component.name}: an identity response needs as many channels "
            f"({response.n_channels}) as energy bins ({len(photons)})"
        )
    return photons * area


def _same_channels(background: Response, source: Response) -> Response:
    """Return the response of a background component after checking its channels."""
    own, other = background.rmf, source.rmf
    if not np.array_equal(own.channel, other.channel):
        raise IcflowError(
            f"{own.path} has the channels {own.channel[0]} to {own.channel[-1]}, {other.path} "
            f"{other.channel[0]} to {other.channel[-1]}; give the background component a response "
            "with the channels of the spectrum"
        )
    return background


def component_values(component: Component, values: Mapping[str, float]) -> Floats:
    """Return the parameters of a component in XSPEC's order, without the norm."""
    return np.array([values[f"{component.name}.{p.name}"] for p in component.definition.parameters])


def factor(term: Term, values: Mapping[str, float], energies: Floats) -> Floats:
    """Return the product of the multiplicative models of a term, shape (n_bins,)."""
    product = np.ones(len(energies) - 1)
    for component in term.factors:
        product *= library.evaluate(
            component.definition, energies, component_values(component, values)
        )
    return product


def term_photons(term: Term, values: Mapping[str, float], energies: Floats) -> Floats:
    """Return the photons/cm²/s per bin of a term for norm 1, by XSPEC's functions."""
    additive = library.evaluate(
        term.additive.definition, energies, component_values(term.additive, values)
    )
    return additive * factor(term, values, energies)


# --- the cache -----------------------------------------------------------------------


def cached(key: Mapping[str, object], make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays kept under `key`, making and keeping them the first time.

    A lock makes the second of two processes wait for the first instead of
    doing the same work. The last few are kept in memory too: profiles fit one
    model many times.
    """
    name = hashlib.sha256(canonical_json({**key, "format": FORMAT}).encode()).hexdigest()[:32]
    folder = cache_folder() / "folded"
    path = folder / f"{name}.npz"
    arrays = _recent.pop(path, None) or _read_cache(path)
    if arrays is None:
        arrays = _make_cache(path, make)
    _recent[path] = arrays
    if len(_recent) > RECENT:
        del _recent[next(iter(_recent))]
    return arrays


# The arrays used last, oldest first.
_recent: dict[Path, Arrays] = {}


def _make_cache(path: Path, make: Callable[[], Arrays]) -> Arrays:
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with locked(lock):
        arrays = _read_cache(path)
        if arrays is None:
            arrays = make()
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
        lock.unlink(missing_ok=True)
    return arrays


def _read_cache(path: Path) -> Arrays | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, KeyError):
        # Not whole, whatever the reason: made again.
        os.unlink(path)
        return None


# --- plasma --------------------------------------------------------------------------


class PlasmaTable(NamedTuple):
    """A term with `apec`, folded.

    Below the last line or edge, model bins are filled anew for every
    redshift, from tracked lines and a cumulative spectrum; above it, the
    spectrum is smooth and its folded rates are interpolated.

    Attributes
    ----------
    temperatures : ndarray, shape (n_temperatures,)
        keV.
    smooth_grid, search_grid : ndarray, shape (2,)
        First redshift node and spacing of the two tables.
    smooth : ndarray of float32, shape (n_redshifts, n_temperatures, 2, n_channels)
        What the bins above the lines give.
    searching : ndarray of float32, shape (n_redshifts, n_temperatures, 2, n_channels)
        Everything, averaged over the redshifts that each node stands for: in
        place of the steps in which lines change bins, a smooth function.
    line_energy : ndarray, shape (n_lines,)
    line_photons : ndarray, shape (n_lines, n_temperatures, 2)
    grid : ndarray, shape (2,)
        First energy of the cumulative spectrum and its spacing, keV.
    cumulative : ndarray, shape (n_edges, n_temperatures, 2)
    energies : ndarray, shape (n_rows + 1,)
        Edges of the model bins that lines can reach, keV.
    kernel : ndarray, shape (n_rows, n_reached)
        Counts/s per photon/cm²/s in each of these bins, in the channels that
        they reach, the first ones.
    """

    temperatures: Floats
    smooth_grid: Floats
    search_grid: Floats
    smooth: Singles
    searching: Singles
    line_energy: Floats
    line_photons: Floats
    grid: Floats
    cumulative: Floats
    energies: Floats
    kernel: Floats

    def at(self, redshift: float, chosen: Integers | None = None) -> Floats:
        """Return the exact rates at one redshift for the temperatures of some nodes.

        Parameters
        ----------
        chosen : ndarray of int, shape (n_chosen,), optional
            Nodes, all of them by default.

        Returns
        -------
        ndarray, shape (n_chosen, 2, n_channels)
        """
        nodes = np.arange(len(self.temperatures)) if chosen is None else chosen
        return rates_at(self, redshift, nodes)

    def cut(self, channels: slice) -> PlasmaTable:
        """Return the table of a run of channels."""
        return self._replace(
            smooth=np.ascontiguousarray(self.smooth[..., channels]),
            searching=np.ascontiguousarray(self.searching[..., channels]),
            kernel=_reached(self.kernel[:, channels]),
        )


def _reached(kernel: Floats) -> Floats:
    """Drop the channels at the end that nothing reaches."""
    used = np.flatnonzero(kernel.any(axis=0))
    return np.ascontiguousarray(kernel[:, : int(used[-1]) + 1 if len(used) else 1])


@njit(cache=True, nogil=True)
def photons_at(table: PlasmaTable, redshift: float, chosen: Integers) -> Floats:
    """Fill the model bins below the last line, shape (n_rows, n_chosen, 2)."""
    n_rows, n_t = len(table.energies) - 1, len(chosen)
    stretch = 1.0 + redshift
    photons = np.empty((n_rows, n_t, 2))
    below = np.empty((n_t, 2))
    for e in range(n_rows + 1):
        position = (table.energies[e] * stretch - table.grid[0]) / table.grid[1]
        k = min(max(int(position), 0), len(table.cumulative) - 2)
        t = min(max(position - k, 0.0), 1.0)
        for i in range(n_t):
            for part in range(2):
                value = (1 - t) * table.cumulative[k, chosen[i], part]
                value += t * table.cumulative[k + 1, chosen[i], part]
                if e > 0:
                    photons[e - 1, i, part] = (value - below[i, part]) / stretch
                below[i, part] = value
    bins = np.searchsorted(table.energies, table.line_energy / stretch, side="right") - 1
    for k in range(len(bins)):
        if 0 <= bins[k] < n_rows:
            for i in range(n_t):
                for part in range(2):
                    photons[bins[k], i, part] += table.line_photons[k, chosen[i], part] / stretch
    return photons


@njit(cache=True, nogil=True)
def rates_at(table: PlasmaTable, redshift: float, chosen: Integers) -> Floats:
    """Return exact counts/s per channel at one redshift, shape (n_chosen, 2, n_channels)."""
    n_t, n_c = len(chosen), table.smooth.shape[3]
    position = (redshift - table.smooth_grid[0]) / table.smooth_grid[1]
    node, weight, _ = cubic(position, table.smooth.shape[0])
    rates = np.empty((n_t, 2, n_c))
    for i in range(n_t):
        for part in range(2):
            a, b = table.smooth[node, chosen[i], part], table.smooth[node + 1, chosen[i], part]
            c, d = table.smooth[node + 2, chosen[i], part], table.smooth[node + 3, chosen[i], part]
            for k in range(n_c):
                rates[i, part, k] = (
                    weight[0] * a[k] + weight[1] * b[k] + weight[2] * c[k] + weight[3] * d[k]
                )
    photons = photons_at(table, redshift, chosen)
    folded = np.dot(photons.reshape(len(photons), n_t * 2).T.copy(), table.kernel)
    for i in range(n_t):
        for part in range(2):
            for k in range(table.kernel.shape[1]):
                rates[i, part, k] += folded[2 * i + part, k]
    return rates


@njit(cache=True, nogil=True)
def add_smooth(table: PlasmaTable, amounts: Floats, redshift: float, model: Floats) -> None:
    """Add the counts from above the lines of a mix of temperatures to `model`.

    Parameters
    ----------
    amounts : ndarray, shape (n_temperatures, 2)
        Norm times exposure of (A, B) at every temperature.
    model : ndarray, shape (n_channels,)
    """
    node, weight, _ = cubic(
        (redshift - table.smooth_grid[0]) / table.smooth_grid[1], table.smooth.shape[0]
    )
    for i in range(len(amounts)):
        for part in range(2):
            if amounts[i, part] == 0:
                continue
            for q in range(4):
                row, factor = table.smooth[node + q, i, part], amounts[i, part] * weight[q]
                for k in range(len(model)):
                    model[k] += factor * row[k]


@njit(cache=True, nogil=True)
def add_lines(table: PlasmaTable, amounts: Floats, redshift: float, model: Floats) -> None:
    """Add the counts from the range of the lines, as `add_smooth` those from above it."""
    n_rows, stretch = len(table.energies) - 1, 1.0 + redshift
    photons = np.zeros(n_rows)
    for i in range(len(amounts)):
        for part in range(2):
            amount = amounts[i, part]
            if amount == 0:
                continue
            below = 0.0
            for e in range(n_rows + 1):
                position = (table.energies[e] * stretch - table.grid[0]) / table.grid[1]
                k = min(max(int(position), 0), len(table.cumulative) - 2)
                t = min(max(position - k, 0.0), 1.0)
                value = (1 - t) * table.cumulative[k, i, part]
                value += t * table.cumulative[k + 1, i, part]
                if e > 0:
                    photons[e - 1] += amount * (value - below) / stretch
                below = value
    bins = np.searchsorted(table.energies, table.line_energy / stretch, side="right") - 1
    strength = line_strength(table, amounts)
    for k in range(len(bins)):
        if 0 <= bins[k] < n_rows:
            photons[bins[k]] += strength[k] / stretch
    for r in range(n_rows):
        row = table.kernel[r]
        for k in range(len(row)):
            model[k] += photons[r] * row[k]


@njit(cache=True, nogil=True)
def line_strength(table: PlasmaTable, amounts: Floats) -> Floats:
    """Return the photons of every tracked line in a mix of temperatures, shape (n_lines,)."""
    strength = np.zeros(len(table.line_energy))
    for k in range(len(strength)):
        for i in range(len(amounts)):
            for part in range(2):
                if amounts[i, part] != 0:
                    strength[k] += amounts[i, part] * table.line_photons[k, i, part]
    return strength


def plasma_table(
    term: Term,
    values: Mapping[str, float],
    response: Response,
    atomic_data: AtomicData,
    temperatures: tuple[float, float],
    redshifts: tuple[float, float],
) -> PlasmaTable:
    """Fold a term with `apec` for ranges of kT (keV) and redshift.

    Parameters
    ----------
    values : mapping
        The parameters of the multiplicative models in front of it.
    """
    factors = [list(component_values(component, values)) for component in term.factors]
    bracket = plasma.tables(atomic_data, *temperatures)
    key = {
        "table": "plasma",
        "term": [c.definition.name for c in term.factors],
        "factors": factors,
        "response": response.key,
        "library": library.version(),
        "atomic_data": atomic_data.model_dump(exclude={"folder"}),
        "temperatures": [float(bracket[0]), float(bracket[-1])],
        "redshifts": list(redshifts),
        "tracked": [plasma.TRACKED, plasma.COARSE, plasma.LAST_FEATURE],
        "steps": [SMOOTH_STEP, SEARCH_STEP, AVERAGED],
    }
    arrays = cached(
        key, lambda: _fold_plasma(term, values, response, atomic_data, temperatures, redshifts)
    )
    return PlasmaTable(**arrays)


def _fold_plasma(
    term: Term,
    values: Mapping[str, float],
    response: Response,
    atomic_data: AtomicData,
    temperatures: tuple[float, float],
    redshifts: tuple[float, float],
) -> Arrays:
    search = _redshift_nodes(redshifts[0], redshifts[1], SEARCH_STEP)
    # The searching table averages half a step beyond its outer nodes.
    nodes = _redshift_nodes(search[0] - SEARCH_STEP / 2, search[-1] + SEARCH_STEP / 2, SMOOTH_STEP)
    energies = response.energies
    parts = plasma.build(
        atomic_data, *temperatures, energies[0] * (1 + nodes[0]), (1 + nodes[-1]) / (1 + nodes[0])
    )
    matrix = response.dense * (response.area * factor(term, values, energies))[:, None]
    # The first bin that no feature reaches at the lowest redshift.
    split = int(np.searchsorted(energies, plasma.LAST_FEATURE / (1 + nodes[0]), side="right"))
    split = min(split, len(matrix) - 1)
    shape = (len(parts.temperatures), 2, response.n_channels)
    smooth = np.empty((len(nodes), *shape), dtype=np.float32)
    for i, z in enumerate(nodes):
        photons = np.stack(
            [plasma.parts(kT, z, energies[split:], lines=False) for kT in parts.temperatures]
        )
        smooth[i] = (photons.reshape(-1, len(matrix) - split) @ matrix[split:]).reshape(shape)
    table = PlasmaTable(
        temperatures=parts.temperatures,
        smooth_grid=np.array([nodes[0], SMOOTH_STEP]),
        search_grid=np.array([search[0], SEARCH_STEP]),
        smooth=smooth,
        searching=np.empty((len(search), *shape), dtype=np.float32),
        line_energy=parts.line_energy,
        line_photons=np.ascontiguousarray(np.moveaxis(parts.line_photons, -1, 0)),
        grid=np.array([parts.edges[0], plasma.COARSE]),
        cumulative=parts.cumulative,
        energies=energies[: split + 1].copy(),
        kernel=_reached(matrix[:split]),
    )
    offsets = (np.arange(AVERAGED) + 0.5) / AVERAGED - 0.5
    for i, z in enumerate(search):
        around = [table.at(z + offset * SEARCH_STEP) for offset in offsets]
        table.searching[i] = np.mean(around, axis=0)
    return table._asdict()


def _redshift_nodes(low: float, high: float, step: float) -> Floats:
    """Return evenly spaced nodes from one and a half steps below to as much above."""
    first = low - 1.5 * step
    count = max(4, int(np.ceil((high + 1.5 * step - first) / step)) + 1)
    return np.asarray(first + step * np.arange(count))


# --- one varying parameter ---------------------------------------------------------------


def curve(
    rates: Callable[[float], Floats], low: float, high: float
) -> tuple[Floats, float, float] | None:
    """Tabulate folded rates along one parameter, as densely as they need.

    Returns
    -------
    nodes : ndarray, shape (n_nodes, n_channels)
    first, step : float
        None if the rates are not smooth enough for the largest table.
    """
    known: dict[float, Floats] = {}

    def at(value: float) -> Floats:
        if value not in known:
            known[value] = rates(value)
        return known[value]

    for n in CURVE_NODES:
        step = (high - low) / (n - 1)
        # Midpoints between nodes are the nodes of the next, twice as dense table.
        probes = range(1, n - 2, max(1, (n - 3) // CURVE_PROBES))
        worst = 0.0
        for i in probes:
            nodes = np.stack([at(low + step * (i + k)) for k in (-1, 0, 1, 2)])
            exact = at(low + step * (i + 0.5))
            big = exact > 1e-7 * exact.max()
            middle = np.array([-1, 9, 9, -1]) / 16 @ nodes[:, big]
            worst = max(worst, float(np.abs(middle / exact[big] - 1).max()))
        if worst < CURVE_TOLERANCE:
            return np.stack([at(low + step * i) for i in range(n)]), low, step
    return None
