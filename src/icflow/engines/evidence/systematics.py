"""What is wrong with area, energy scale and background, as backgrounds that scatter.

Expected counts are all but linear in the few per cent that an area is wrong by, and in the fraction
of the resolution by which an energy scale is. So each standard deviate of these is the norm of a
background whose counts are what they change by it, and fits and integrals vary it as any other
norm. Linear about the best fit of a spectrum, and again about the next, they end where expected
counts are exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from icflow.compiled import jit
from icflow.engines.embedded.population import Population
from icflow.engines.embedded.shapes import BACKGROUND, KIND, NORM, TABLE, Shapes
from icflow.statistic import FLOOR
from icflow.typing import Floats

# Of the norms that stand for standard deviates, 1 for none: so little that a bin which expects as
# many counts as this allows holds them as their Gaussian does.
SCATTER = 0.01
HELD = 1 / SCATTER**2
STEP = 1e-3  # of deviates, for differences


class Wrong(NamedTuple):
    """What is wrong with the expected counts of spectra, linear about some parameters.

    Attributes
    ----------
    ratio : ndarray, shape (n, n_bins)
        What is expected there, by what would be if area and energy scale were right.
    rows : ndarray, shape (n, n_rows, n_bins)
        The last rows of the shapes of each; none where nothing is wrong.
    """

    ratio: Floats
    rows: Floats


class WrongInstrument:
    """Backgrounds that stand for what is wrong with the instrument of a population.

    Each is held by a bin of its own, beyond those of the counts. One more has a norm of 1: it takes
    off what is expected of the others at the parameters about which all is linear.

    Parameters
    ----------
    population : Population

    Attributes
    ----------
    positions : ndarray of int
        Of the norms among the parameters, but for the last; they follow those of the model.
    """

    def __init__(self, population: Population) -> None:
        self._population, self._first = population, len(population.model.start)
        self.positions = self._first + np.arange(population.wrong)
        self._added = population.wrong + 1 if population.wrong else 0
        calibration = population.wrong - population.backgrounds
        self._background = np.arange(population.wrong) >= calibration

    def started(self, thetas: Floats) -> Floats:
        """Return parameters (n, n_parameters) with the norms added, of nothing wrong."""
        return np.concatenate([thetas, np.ones((len(thetas), self._added))], axis=1)

    def among(self, shapes: Shapes) -> Shapes:
        """Return shapes with the backgrounds, expected in the bins that hold them alone so far."""
        n_rows, n_bins = shapes.rows.shape
        number = len(self.positions)
        terms = np.zeros((self._added, shapes.terms.shape[1]), dtype=np.int64)
        terms[:, KIND] = BACKGROUND
        terms[:, TABLE] = n_rows + np.arange(self._added)
        terms[:, NORM] = self._first + np.arange(self._added)
        rows = np.pad(shapes.rows, ((0, self._added), (0, number)))
        rows[n_rows : n_rows + number, n_bins:] = HELD * np.eye(number)
        plasma = np.pad(shapes.plasma, ((0, 0),) * (shapes.plasma.ndim - 1) + ((0, number),))
        terms = np.concatenate([shapes.terms, terms])
        return shapes._replace(terms=terms, rows=rows, plasma=plasma)

    def held(self, counts: Floats) -> Floats:
        """Return counts (n, n_bins) with those of the bins that hold the backgrounds."""
        return np.pad(counts, ((0, 0), (0, len(self.positions))), constant_values=HELD)

    def free(self, shapes: Shapes) -> Shapes:
        """Return shapes that are `among` the backgrounds without the bins that hold these."""
        if not len(self.positions):
            return shapes
        bins = shapes.rows.shape[1] - len(self.positions)
        rows, plasma = shapes.rows[:, :bins], shapes.plasma[..., :bins]
        return shapes._replace(rows=np.ascontiguousarray(rows), plasma=np.ascontiguousarray(plasma))

    def about(self, starts: Floats) -> tuple[Floats, Wrong]:
        """Return what is wrong with spectra, linear about the first start of each.

        Parameters
        ----------
        starts : ndarray, shape (n, n_starts, n_parameters)

        Returns
        -------
        starts : ndarray
            All with the deviates of the first, and the background norms that these say.
        wrong : Wrong
        """
        population, number = self._population, len(self.positions)
        rows = np.empty((len(starts), self._added, population.n_bins))
        if not number:
            return starts, Wrong(np.empty((len(starts), 0)), rows)
        own, norms = starts[:, 0, : self._first], starts[:, 0, self.positions]
        deviates = (norms - 1) / SCATTER
        there = population.expected(own, deviates)
        for i in range(number):
            beside = deviates + STEP * (np.arange(number) == i)
            rows[:, i] = (population.expected(own, beside) - there) / (STEP * SCATTER)
        rows[:, -1] = -np.einsum("ni,nib->nb", norms, rows[:, :-1])
        right = population.expected(own, deviates * self._background)
        ratio = np.divide(there, right, out=np.ones_like(right), where=right > FLOOR)
        starts = starts.copy()
        starts[:, :, self._first :] = starts[:, :1, self._first :]
        for position, values in population.norms(deviates).items():
            starts[:, :, position] = values[:, None]
        return starts, Wrong(ratio, rows)


@jit
def put_wrong(shapes: Shapes, wrong: Wrong, i: int) -> Shapes:
    """Return shapes with what is wrong with a spectrum, but for the bins that hold it."""
    ratio, last = wrong.ratio[i], wrong.rows[i]
    if len(last) == 0:
        return shapes
    rows, plasma = shapes.rows.copy(), shapes.plasma.copy()
    first = len(rows) - len(last)
    for c in range(len(ratio)):
        for r in range(first):
            rows[r, c] *= ratio[c]
        for r in range(len(last)):
            rows[first + r, c] = last[r, c]
    n_z, n_tables, n_kT, parts, _ = plasma.shape
    for z in range(n_z):
        for table in range(n_tables):
            for kT in range(n_kT):
                for part in range(parts):
                    for c in range(len(ratio)):
                        plasma[z, table, kT, part, c] *= ratio[c]
    return Shapes(
        shapes.terms,
        rows,
        shapes.curves,
        plasma,
        shapes.temperatures,
        shapes.redshifts,
        shapes.modules,
        shapes.touching,
    )
