"""The likelihood of spectra as a plain function, for samplers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from icflow.api.arguments import floats
from icflow.config import FitModel
from icflow.engines.embedded.direct import DIFFERENCE, DIFFERENCE_REDSHIFT
from icflow.engines.embedded.folding import Behind
from icflow.engines.embedded.shapes import Shapes, information, model_counts
from icflow.engines.embedded.terms import REDSHIFT
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.priors import Prior
from icflow.observation.engine import ObservedEngine
from icflow.statistic import binned, statistic
from icflow.typing import Floats


class Likelihood:
    """ln L = -C/2 of spectra, of the free parameters of a model.

    `icflow.Model.likelihood` makes it. It is a function of one array, as `emcee` takes it; with
    `prior_transform` it is what `dynesty` and `ultranest` take, and with `gradient` what
    Hamiltonian samplers do.

    Attributes
    ----------
    names : tuple of str
        Free parameters, in the order of the array; factors and backgrounds included.
    limits : ndarray, shape (n, 2)
        Lowest and highest value of each.

    Examples
    --------
    >>> import icflow
    >>> likelihood = icflow.Model("powerlaw").likelihood(icflow.read_spectrum("spec.pha"))
    >>> likelihood.gradient([2.0, 1.0]).shape
    (2,)
    >>> likelihood([2.0, -1.0])
    -inf
    """

    def __init__(
        self, model: FitModel, engine: ObservedEngine, priors: Mapping[str, Prior]
    ) -> None:
        task = engine.engine.task(model, engine.control, ())
        self._atomic_data = engine.engine.atomic_data
        self._model, self._tables = task.model, task.fitter.tables
        self._free = np.array(task.model.free, dtype=np.int64)
        behind = None
        if len(engine.behind):
            behind = Behind(engine.counts[None, engine.n_channels :], engine.ratio)
        counts = engine.counts[: engine.n_channels]
        self._data, _ = task.selection.data(counts, task.group_min, engine.groups, behind)
        self._shapes: tuple[bytes, Shapes] | None = None
        self._direct = np.isin(self._free, self._tables.direct.parameters)
        self.names = tuple(task.model.names[position] for position in self._free)
        self.limits = np.column_stack([task.model.lower[self._free], task.model.upper[self._free]])
        self._priors = priors

    def __call__(self, values: Any) -> float:
        """Return ln L = -C/2; minus infinity outside of the limits.

        Parameters
        ----------
        values : array_like, shape (n,)
            Of the parameters `names`.
        """
        theta = self._theta(values)
        if theta is None:
            return -math.inf
        return -0.5 * float(statistic(self._data, binned(self._data, self._counts(theta))))

    def counts(self, values: Any) -> Floats:
        """Return the expected counts per bin, shape (n_bins,), of parameters within the limits.

        Examples
        --------
        >>> import icflow
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": {"uniform": [1, 3]}})
        >>> likelihood = model.likelihood("spec.pha")
        >>> likelihood.counts([2.0, 1.0]).shape
        (380,)
        """
        return binned(self._data, self._counts(self._inside(values)))

    def gradient(self, values: Any) -> Floats:
        """Return the derivatives of ln L by each parameter, shape (n,).

        By redshifts, with which lines hop between bins, and by parameters that no table holds,
        they are differences.

        Raises
        ------
        IcflowError
            If the parameters are outside of the limits.

        Examples
        --------
        >>> import icflow
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": {"uniform": [1, 3]}})
        >>> likelihood = model.likelihood("spec.pha")
        >>> likelihood.gradient([2.0, 1.0]).shape
        (2,)
        """
        theta = self._inside(values)
        _, slope = information(self._at(theta), self._data, self._model.box(), theta)
        gradient = -np.asarray(slope)
        for place, name in enumerate(self.names):
            if self._direct[place] or name.endswith(f".{REDSHIFT}"):
                gradient[place] = self._difference(np.asarray(values, dtype=np.float64), place)
        return gradient

    def prior_transform(self, cube: Any) -> Floats:
        """Return parameters of a point of the unit cube: by their priors, else uniform.

        Raises
        ------
        IcflowError
            If these are not as many numbers from 0 to 1.

        Examples
        --------
        >>> import icflow
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": {"uniform": [1, 3]}})
        >>> likelihood = model.likelihood("spec.pha")
        >>> likelihood.prior_transform([0.5, 0.1]).tolist()
        [2.0, 100000.0]
        """
        probability = floats(cube, "cube")
        if probability.shape != self._free.shape or not np.all(
            (probability >= 0) & (probability <= 1)
        ):
            raise IcflowError(f"cube is {cube}; give {len(self.names)} numbers from 0 to 1")
        low, high = self.limits.T
        values = low + probability * (high - low)
        for place, name in enumerate(self.names):
            if name in self._priors:
                values[place] = self._priors[name].quantile(probability[place])
        return np.asarray(values)

    def log_prior(self, values: Any) -> float:
        """Return the logarithm of the prior density; minus infinity outside of the limits.

        Examples
        --------
        >>> import icflow
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": {"uniform": [1, 3]}})
        >>> likelihood = model.likelihood("spec.pha")
        >>> print(f"{likelihood.log_prior([2.0, 1.0]):.2f}")  # widths of 2 and of 1e6
        -14.51
        """
        if self._theta(values) is None:
            return -math.inf
        width = self.limits[:, 1] - self.limits[:, 0]
        for place, name in enumerate(self.names):
            if name in self._priors:
                width[place] = self._priors[name].slope(float(values[place]))
        return -float(np.log(width).sum())

    def __repr__(self) -> str:
        return f"<icflow.Likelihood of {', '.join(self.names)}; {len(self._data.counts)} bins>"

    def _theta(self, values: Any) -> Floats | None:
        """Return all parameters of the model, None outside of the limits."""
        given = floats(values, "values")
        if given.shape != self._free.shape:
            raise IcflowError(
                f"values has the shape {given.shape}; give the {len(self.names)} parameters "
                f"{', '.join(self.names)}"
            )
        if not np.all((given >= self.limits[:, 0]) & (given <= self.limits[:, 1])):
            return None
        theta = self._model.start.copy()
        theta[self._free] = given
        return theta

    def _inside(self, values: Any) -> Floats:
        theta = self._theta(values)
        if theta is None:
            raise IcflowError(f"values is {values}, outside of the limits; see `limits`")
        return theta

    def _at(self, theta: Floats) -> Shapes:
        """Return what the model is made of; those of the last redshifts are kept."""
        library.configure(self._atomic_data)
        redshifts = theta[self._tables.redshift_of].tobytes()
        if self._shapes is None or self._shapes[0] != redshifts:
            self._shapes = redshifts, self._tables.exact(theta)
        return self._tables.touch(self._shapes[1], theta, tangents=False)

    def _counts(self, theta: Floats) -> Floats:
        return np.asarray(model_counts(self._at(theta), theta))

    def _difference(self, values: Floats, place: int) -> float:
        redshift = self.names[place].endswith(f".{REDSHIFT}")
        step = DIFFERENCE_REDSHIFT if redshift else DIFFERENCE * max(abs(values[place]), 1e-2)
        low, high = values.copy(), values.copy()
        low[place] = max(values[place] - step, self.limits[place, 0])
        high[place] = min(values[place] + step, self.limits[place, 1])
        return (self(high) - self(low)) / float(high[place] - low[place])
