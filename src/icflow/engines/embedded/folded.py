"""Expected count rates of single terms, folded once and kept on disk.

A fit evaluates its model thousands of times. What it needs of XSPEC's model
functions is tabulated here: `apec` at the temperatures of its tables and on a
grid in redshift, other models along one parameter that varies. All tables hold
counts/s per channel for norm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from icflow.cache import Arrays
from icflow.compiled import strict
from icflow.config import AtomicData
from icflow.engines.embedded.correction import Correction
from icflow.engines.embedded.folding import Corrected, Response
from icflow.engines.embedded.shapes import cubic
from icflow.models import library, plasma
from icflow.models.expression import Term
from icflow.models.photons import component_values, factor, term_photons
from icflow.typing import Floats, Integers, Singles

# Above the lines the continuum of AtomDB is piecewise linear: at 80 keV its kinks, blurred by the
# response, are interpolated to 1e-5 with this spacing.
SMOOTH_STEP = 0.0015
SEARCH_STEP = 0.005
AVERAGED = 8  # redshifts that a node of the searching table averages over
# Nodes along a curve are added until halving their spacing changes the rates by less than this.
CURVE_TOLERANCE = 1e-6
CURVE_NODES = (17, 33, 65, 129, 257, 513, 1025)
CURVE_PROBES = 4
TOGETHER = 32  # models that are folded at once
STANDS_OUT = 3e-4  # lines that hold less than this fraction of the counts of a channel do not


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
        Increasing.
    line_photons : ndarray, shape (n_lines, n_temperatures, 2)
    line_sums : ndarray, shape (n_lines + 1, n_temperatures, 2)
        Photons of all lines before each.
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
    line_sums: Floats
    grid: Floats
    cumulative: Floats
    energies: Floats
    kernel: Floats

    def at(self, redshift: float) -> Floats:
        """Return the exact rates at one redshift, shape (n_temperatures, 2, n_channels)."""
        rates = np.empty(self.smooth.shape[1:])
        fill_exact(self, redshift, np.arange(len(self.temperatures)), 1.0, rates)
        return rates

    @property
    def lines_end(self) -> int:
        """The first channel from which on lines hold little of a mix of all temperatures."""
        redshift = float(self.smooth_grid[0])
        sums = self.line_sums.sum(axis=(1, 2))[_lines_below(self, 1.0 + redshift)]
        lines = np.diff(sums) / (1.0 + redshift) @ self.kernel
        whole = self.at(redshift).sum(axis=(0, 1))[: len(lines)]
        held = np.flatnonzero(lines > STANDS_OUT * whole)
        return int(held[-1]) + 1 if len(held) else 0

    def cut(self, channels: slice) -> PlasmaTable:
        """Return the table of a run of channels."""
        return self._replace(
            smooth=np.ascontiguousarray(self.smooth[..., channels]),
            searching=np.ascontiguousarray(self.searching[..., channels]),
            kernel=_reached(self.kernel[:, channels]),
        )

    def corrected(self, correction: Correction) -> PlasmaTable:
        """Return the table of the response that a correction makes."""
        n_rows, width = self.kernel.shape
        kernel = np.zeros((n_rows, self.smooth.shape[-1]))
        kernel[:, :width] = self.kernel
        # Further away, differences of sums leave a last digit and no counts.
        kernel = correction(kernel)[:, : width + correction.farthest]
        return self._replace(
            smooth=correction(self.smooth).astype(np.float32),
            searching=correction(self.searching).astype(np.float32),
            kernel=_reached(kernel),
        )

    def merged(self, runs: Integers) -> Arrays:
        """Return what is exact of runs of channels, by their first ones."""
        smooth = np.add.reduceat(self.smooth, runs, axis=-1, dtype=np.float64)
        kernel = np.add.reduceat(self.kernel, runs[runs < self.kernel.shape[1]], axis=1)
        return {"smooth": smooth.astype(np.float32), "kernel": kernel}


def _reached(kernel: Floats) -> Floats:
    """Drop the channels at the end that nothing reaches."""
    used = np.flatnonzero(kernel.any(axis=0))
    return np.ascontiguousarray(kernel[:, : int(used[-1]) + 1 if len(used) else 1])


@strict
def photons_at(table: PlasmaTable, redshift: float, nodes: tuple[int, int]) -> Floats:
    """Fill the model bins below the last line at a run of nodes, shape (n_rows, 2 n_nodes)."""
    first, n = 2 * nodes[0], 2 * (nodes[1] - nodes[0])
    n_rows, stretch, every = len(table.energies) - 1, 1.0 + redshift, table.cumulative[0].size
    cumulative = table.cumulative.reshape(len(table.cumulative), every)[:, first : first + n]
    line_sums = table.line_sums.reshape(len(table.line_sums), every)[:, first : first + n]
    lines, photons = _lines_below(table, stretch), np.empty((n_rows, n))
    up_to, below = np.empty(n), np.zeros(n)
    for e in range(n_rows + 1):
        k, t = _below(table, table.energies[e] * stretch)
        low, high, line = cumulative[k], cumulative[k + 1], line_sums[lines[e]]
        for i in range(n):
            up_to[i] = ((1 - t) * low[i] + t * high[i] + line[i]) / stretch
        if e > 0:
            for i in range(n):
                photons[e - 1, i] = up_to[i] - below[i]
        for i in range(n):
            below[i] = up_to[i]
    return photons


@strict
def fill_exact(
    table: PlasmaTable, redshift: float, chosen: Integers, exposure: float, counts: Floats
) -> None:
    """Compute exact counts per channel at one redshift for the temperatures of some nodes.

    Parameters
    ----------
    chosen : ndarray of int, shape (n_chosen,)
        Nodes.
    exposure : float
        What rates are multiplied by.
    counts : ndarray, shape (n_temperatures, 2, n_channels)
        Overwritten at these nodes.
    """
    position = (redshift - table.smooth_grid[0]) / table.smooth_grid[1]
    node, weight, _ = cubic(position, table.smooth.shape[0])
    first = chosen.min()
    photons = photons_at(table, redshift, (first, chosen.max() + 1))
    wanted = np.empty((2 * len(chosen), len(photons)))
    for e in range(len(photons)):
        for i in range(len(chosen)):
            for part in range(2):
                place = 2 * (chosen[i] - first) + part
                wanted[2 * i + part, e] = exposure * photons[e, place]
    folded = np.dot(wanted, table.kernel)
    for q in range(len(weight)):
        weight[q] *= exposure
    for i in range(len(chosen)):
        for part in range(2):
            row, lines = counts[chosen[i], part], folded[2 * i + part]
            a, b = table.smooth[node, chosen[i], part], table.smooth[node + 1, chosen[i], part]
            c, d = table.smooth[node + 2, chosen[i], part], table.smooth[node + 3, chosen[i], part]
            for k in range(len(row)):
                row[k] = weight[0] * a[k] + weight[1] * b[k] + weight[2] * c[k] + weight[3] * d[k]
            for k in range(len(lines)):
                row[k] += lines[k]


@strict
def add_mix(
    table: PlasmaTable, amounts: Floats, redshifts: Floats, first: int, models: Floats
) -> None:
    """Add the counts of a mix of temperatures at several redshifts.

    Parameters
    ----------
    amounts : ndarray, shape (n_temperatures, 2)
        Norm times exposure of (A, B) at every temperature.
    first : int
        The first channel of the table.
    models : ndarray, shape (n_redshifts, n_channels)
    """
    _add_smooth(table, amounts, redshifts, models[:, first:])
    folded = np.dot(_mix_photons(table, amounts, redshifts), table.kernel)
    for k in range(len(redshifts)):
        for c in range(folded.shape[1]):
            models[k, first + c] += folded[k, c]


@strict
def _add_smooth(table: PlasmaTable, amounts: Floats, redshifts: Floats, models: Floats) -> None:
    """Add the counts from above the lines: a mix at each node that is wanted, then in between."""
    n_nodes, n_channels = table.smooth.shape[0], table.smooth.shape[3]
    places = (redshifts - table.smooth_grid[0]) / table.smooth_grid[1]
    first, last = cubic(places.min(), n_nodes)[0], cubic(places.max(), n_nodes)[0] + 4
    mixed, done = np.zeros((last - first, n_channels)), np.zeros(last - first, dtype=np.bool_)
    for k in range(len(places)):
        node, weight, _ = cubic(places[k], n_nodes)
        for q in range(4):
            place = node + q - first
            if not done[place]:
                done[place] = True
                _mix(table.smooth[node + q], amounts, mixed[place])
            for c in range(n_channels):
                models[k, c] += weight[q] * mixed[place, c]


@strict
def _mix(spectra: Singles, amounts: Floats, mixed: Floats) -> None:
    """Add up spectra, shape (n_temperatures, 2, n_channels)."""
    for i in range(len(amounts)):
        for part in range(2):
            if amounts[i, part] != 0:
                for c in range(len(mixed)):
                    mixed[c] += amounts[i, part] * spectra[i, part, c]


@strict
def _mix_photons(table: PlasmaTable, amounts: Floats, redshifts: Floats) -> Floats:
    """Fill the model bins below the last line with a mix of temperatures, by redshift and bin."""
    n_z, n_edges, n = len(redshifts), len(table.energies), amounts.size
    cumulative = table.cumulative.reshape(len(table.cumulative), n)
    line_sums = table.line_sums.reshape(len(table.line_sums), n)
    mixed, wanted = amounts.reshape(n), np.flatnonzero(amounts)
    stretch, photons, below = 1.0 + redshifts, np.empty((n_z, n_edges - 1)), np.zeros(n_z)
    lines = np.empty((n_z, n_edges), dtype=np.int64)
    for z in range(n_z):
        here = _lines_below(table, stretch[z])
        for e in range(n_edges):
            lines[z, e] = here[e]
    for e in range(n_edges):
        # Neighbours among the redshifts read what lies side by side.
        for z in range(n_z):
            k, t = _below(table, table.energies[e] * stretch[z])
            low, high, line, value = cumulative[k], cumulative[k + 1], line_sums[lines[z, e]], 0.0
            for i in wanted:
                value += mixed[i] * ((1 - t) * low[i] + t * high[i] + line[i])
            if e > 0:
                photons[z, e - 1] = (value - below[z]) / stretch[z]
            below[z] = value
    return photons


@strict
def _below(table: PlasmaTable, energy: float) -> tuple[int, float]:
    """Return the edge of the cumulative spectrum below an energy, and the share of the next."""
    position = (energy - table.grid[0]) / table.grid[1]
    k = min(max(int(position), 0), len(table.cumulative) - 2)
    return k, min(max(position - k, 0.0), 1.0)


@strict
def _lines_below(table: PlasmaTable, stretch: float) -> Integers:
    """Return how many lines are below every edge of the model bins, shape (n_rows + 1,)."""
    below, k, energies = np.empty(len(table.energies), dtype=np.int64), 0, table.energies
    for e in range(len(below)):
        while k < len(table.line_energy) and table.line_energy[k] / stretch < energies[e]:
            k += 1
        below[e] = k
    return below


def plasma_table(
    term: Term,
    values: Mapping[str, float],
    response: Response,
    atomic_data: AtomicData,
    temperatures: tuple[float, float],
    redshifts: tuple[float, float],
    channels: slice | None = None,
    runs: Integers | None = None,
) -> PlasmaTable:
    """Fold a term with `apec` for ranges of kT (keV) and redshift.

    Parameters
    ----------
    values : mapping
        The parameters of the multiplicative models in front of it.
    channels : slice, optional
        A run of channels, all of them by default.
    runs : ndarray of int, optional
        First channels of the runs, within these, that are added up; none by default.
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

    def fold() -> Arrays:
        if not isinstance(response, Corrected):
            return _fold_plasma(term, values, response, atomic_data, temperatures, redshifts)
        nominal = response.nominal
        table = plasma_table(term, values, nominal, atomic_data, temperatures, redshifts)
        return _without_sums(table.corrected(response.correction))

    def whole() -> PlasmaTable:
        return _with_sums(response.kept(key, fold))

    if channels is None:
        return whole()
    # Kept as well: processes that fit then share the channels that they read, too.
    cut_key = {**key, "channels": [channels.start, channels.stop]}
    table = _with_sums(response.kept(cut_key, lambda: _without_sums(whole().cut(channels))))
    if runs is None:
        return table
    return table._replace(
        **response.kept({**cut_key, "runs": runs.tolist()}, lambda: table.merged(runs))
    )


def _with_sums(arrays: Arrays) -> PlasmaTable:
    """Return a table from what is kept of it."""
    photons = arrays["line_photons"]
    sums = np.zeros((len(photons) + 1, *photons.shape[1:]))
    np.cumsum(photons, axis=0, out=sums[1:])
    return PlasmaTable(**arrays, line_sums=sums)


def _without_sums(table: PlasmaTable) -> Arrays:
    arrays: Arrays = table._asdict()
    del arrays["line_sums"]
    return arrays


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
    arrays: Arrays = {
        "temperatures": parts.temperatures,
        "smooth_grid": np.array([nodes[0], SMOOTH_STEP]),
        "search_grid": np.array([search[0], SEARCH_STEP]),
        "smooth": smooth,
        "searching": np.empty((len(search), *shape), dtype=np.float32),
        "line_energy": parts.line_energy,
        "line_photons": np.ascontiguousarray(np.moveaxis(parts.line_photons, -1, 0)),
        "grid": np.array([parts.edges[0], plasma.COARSE]),
        "cumulative": parts.cumulative,
        "energies": energies[: split + 1].copy(),
        "kernel": _reached(matrix[:split]),
    }
    table = _with_sums(arrays)
    offsets = (np.arange(AVERAGED) + 0.5) / AVERAGED - 0.5
    for i, z in enumerate(search):
        around = [table.at(z + offset * SEARCH_STEP) for offset in offsets]
        table.searching[i] = np.mean(around, axis=0)
    return arrays


def _redshift_nodes(low: float, high: float, step: float) -> Floats:
    """Return evenly spaced nodes from one and a half steps below to as much above."""
    first = low - 1.5 * step
    count = max(4, int(np.ceil((high + 1.5 * step - first) / step)) + 1)
    return np.asarray(first + step * np.arange(count))


# --- one varying parameter ---------------------------------------------------------------


class CurveTable(NamedTuple):
    """A term along one parameter.

    Attributes
    ----------
    nodes : ndarray, shape (n_nodes, n_channels)
        Counts/s.
    first, step : float
        Values of the parameter: the first, and from one to the next.
    """

    nodes: Floats
    first: float
    step: float


def curve_table(
    term: Term,
    values: Mapping[str, float],
    varying: tuple[str, float, float],
    responses: Sequence[Response],
    atomic_data: AtomicData,
) -> CurveTable | None:
    """Fold a term along its only varying shape parameter.

    Parameters
    ----------
    values : mapping
        The other parameters.
    varying : tuple
        Name of the parameter, and the ends of its range.
    responses : sequence of Response
        Their channels stand one after another.

    Returns
    -------
    CurveTable or None
        None if the rates are not smooth enough for the largest table.
    """
    name, low, high = varying

    def photons(value: float, response: Response) -> Floats:
        return term_photons(term, {**values, name: value}, response.energies)

    def rates(along: Sequence[float]) -> Floats:
        return np.hstack([r.fold(np.stack([photons(v, r) for v in along])) for r in responses])

    def make() -> Arrays:
        curve = sampled(rates, low, high)
        if curve is None:
            return {"nodes": np.empty((0, 0)), "grid": np.zeros(2)}
        return {"nodes": curve.nodes, "grid": np.array(curve[1:])}

    key = {
        "table": "curve",
        "term": [c.definition.name for c in (*term.factors, term.additive)],
        "fixed": dict(values),
        "varying": list(varying),
        "nodes": CURVE_NODES,
        "responses": [response.key for response in responses],
        "library": library.version(),
        "atomic_data": atomic_data.model_dump(exclude={"folder"}),
    }
    arrays = responses[0].kept(key, make)
    if len(arrays["nodes"]) == 0:
        return None
    return CurveTable(arrays["nodes"], float(arrays["grid"][0]), float(arrays["grid"][1]))


def sampled(
    rates: Callable[[Sequence[float]], Floats], low: float, high: float
) -> CurveTable | None:
    """Tabulate rates along one parameter, as densely as they need; None if nothing is enough.

    Parameters
    ----------
    rates : callable
        Gives those of several values, shape (n_values, n_channels).
    """
    known: dict[float, Floats] = {}

    def at(values: Sequence[float]) -> Floats:
        new = [value for value in dict.fromkeys(values) if value not in known]
        for start in range(0, len(new), TOGETHER):
            some = new[start : start + TOGETHER]
            known.update(zip(some, rates(some), strict=True))
        return np.stack([known[value] for value in values])

    for n in CURVE_NODES:
        step = (high - low) / (n - 1)
        # Midpoints between nodes are the nodes of the next, twice as dense table.
        probes = range(1, n - 2, max(1, (n - 3) // CURVE_PROBES))
        worst = 0.0
        places = np.array([-1, 0, 1, 2, 0.5])
        sets = at([low + step * (i + place) for i in probes for place in places.tolist()])
        for nodes, exact in ((few[:-1], few[-1]) for few in np.split(sets, len(probes))):
            big = exact > 1e-7 * exact.max()
            middle = np.array([-1, 9, 9, -1]) / 16 @ nodes[:, big]
            worst = max(worst, float(np.abs(middle / exact[big] - 1).max()))
        if worst < CURVE_TOLERANCE:
            return CurveTable(at([low + step * i for i in range(n)]), low, step)
    return None
