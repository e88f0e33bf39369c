"""A fit: best values, errors, intervals, fluxes, goodness and figures."""

from __future__ import annotations

from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.api.arguments import energies as energies_of
from icflow.api.arguments import in_python, number, whole
from icflow.api.arguments import path as path_of
from icflow.api.arguments import seed as seed_of
from icflow.api.flux import STEP, Flux, band_flux
from icflow.api.instrument import Name
from icflow.api.printing import as_html
from icflow.api.units import shown
from icflow.config.fits import Errors
from icflow.errors import IcflowError
from icflow.files import check_writable, write_json
from icflow.models import library
from icflow.models.expression import parse
from icflow.observation import fit_figure, fitting, words
from icflow.observation.fit_output import FitRecord, as_json, as_text, notes_on
from icflow.observation.fit_saving import check_saved, save
from icflow.observation.simulations import Draws, goodness
from icflow.publish.figures import style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from icflow.api.model import Model

DPI = 200  # of bitmaps
KINDS: tuple[Errors, ...] = ("profile", "marginal")  # of intervals


class Fit:
    """The best fit of a model to spectra; `icflow.Model.fit` makes it.

    Attributes
    ----------
    model : Model
        That was fitted.
    cstat : float
        C, or W with background spectra, at the minimum.
    dof, bins : int
        Degrees of freedom, and bins.
    converged : bool
        Whether a full Newton step would lower C by less than 1e-5.
    statistic : str
        ``C`` or ``W``.
    values : dict of str to float
        Every parameter; backgrounds as ``background.NAME``, factors between spectra as
        ``factor.NAME``.
    notes : list of str
        What is odd about the spectra and the fit, a sentence each.
    """

    def __init__(self, record: FitRecord, model: Model) -> None:
        self._record, self.model = record, model
        result = record.result
        self.cstat, self.dof, self.bins = result.cstat, result.dof, result.bins
        self.converged, self.values = result.converged, dict(result.values)
        self.statistic = record.statistic
        self.notes = [in_python(note) for note in notes_on(record)]

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """Each parameter: ``value``, 1 sigma ``error``, limits ``low``, ``high``, ``free``, unit.

        The error is 0 where a parameter was not free, and NaN where it ended at a limit or is
        not determined.
        """
        import pandas as pd

        record, result = self._record, self._record.result
        units = self.model.parameters["unit"]
        limits = self._limits()
        return pd.DataFrame(
            {
                "value": result.values,
                "error": result.errors,
                "low": {name: limits.get(name, (np.nan, np.nan))[0] for name in result.values},
                "high": {name: limits.get(name, (np.nan, np.nan))[1] for name in result.values},
                "free": {name: name in result.free for name in result.values},
                "unit": {name: units.get(name, shown(None)) for name in record.result.values},
            }
        ).rename_axis("name")

    @property
    def covariance(self) -> pd.DataFrame:
        """The covariance of the free parameters; NaN for those at a limit."""
        import pandas as pd

        result = self._record.result
        return pd.DataFrame(result.covariance, index=result.free, columns=result.free)

    @property
    def best(self) -> Model:
        """The model with the best values, to predict and to simulate with."""
        own = parse(self.model.expression).parameters
        linked = [name for name, link in self.model.parameters["link"].items() if link]
        values = {n: v for n, v in self.values.items() if n in own and n not in linked}
        return self.model.using(values)

    def intervals(self, level: float = 0.90, errors: str = "profile") -> pd.DataFrame:
        """Return intervals of the free parameters by profile, as XSPEC's ``error``, or averaged.

        Parameters
        ----------
        level : float
            How probable it is that an interval holds the true value.
        errors : {"profile", "marginal"}
            Where the statistic, minimised over all other parameters, has not risen too far, or
            where as much of the likelihood is, averaged over them within their limits.

        Returns
        -------
        DataFrame
            ``value``, ``low`` and ``high``.

        Raises
        ------
        IcflowError
            If the level is not between 0 and 1, there is no such kind, or the data leave more open
            than an average can cover.

        Examples
        --------
        >>> import icflow
        >>> fit = icflow.Model("powerlaw").fit("spec.pha")
        >>> fit.intervals(0.68).loc["powerlaw.PhoIndex"].round(3).tolist()
        [2.005, 2.001, 2.009]
        >>> fit.intervals(0.68, "marginal").loc["powerlaw.PhoIndex"].round(3).tolist()
        [2.005, 2.001, 2.009]
        """
        import pandas as pd
        from scipy.stats import chi2

        if not 0 < number(level, None, "level") < 1:
            raise IcflowError(f"level is {level}; give a probability between 0 and 1")
        if errors not in KINDS:
            raise IcflowError(f"errors is {errors!r}; give {' or '.join(map(repr, KINDS))}")
        library.configure(self.model.atomic_data)
        result = fitting.with_intervals(self._record, errors, float(chi2.ppf(level, 1)))
        for note in words.no_average(errors, result):
            raise IcflowError(note)
        rows = {
            name: {"value": self.values[name], "low": low, "high": high}
            for name, (low, high) in result.intervals.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")

    def flux(
        self, low: Any, high: Any, *, component: str | None = None, absorbed: bool = True
    ) -> Flux:
        """Return the energy flux of the source and its error, erg/cm²/s.

        The error follows from the covariance; parameters at a limit add nothing to it.

        Parameters
        ----------
        low, high, component, absorbed
            As of `icflow.Model.flux`.

        Examples
        --------
        >>> import icflow
        >>> fit = icflow.Model("powerlaw").fit("spec.pha")
        >>> value, error = fit.flux(2, 10)
        >>> print(f"{value:.3g} +- {error:.1g}")
        2.58e-09 +- 8e-12
        """
        library.configure(self.model.atomic_data)
        energies = energies_of((low, high))
        own = parse(self.model.expression).parameters

        def of(values: dict[str, float]) -> float:
            return band_flux(self.model.expression, values, energies, component, absorbed)

        values = {name: value for name, value in self.values.items() if name in own}
        value, result = of(values), self._record.result
        slopes = np.zeros(len(result.free))
        for place, name in enumerate(result.free):
            sigma = result.errors[name]
            if name in own and sigma > 0:
                step = min(sigma, STEP * max(abs(values[name]), sigma))
                step = step if values[name] + step <= self._limits()[name][1] else -step
                slopes[place] = (of(self._moved(values, name, step)) - value) / step
        covariance = np.nan_to_num(result.covariance)
        return Flux(value, float(np.sqrt(slopes @ covariance @ slopes)))

    def goodness(self, n: int = 400, seed: int = 1) -> float:
        """Return the fraction of spectra simulated with the best fit that fit no better.

        Each is fitted anew. The observed spectrum counts as one of them, so that it is never 0;
        where all others fit better by far, it is how probable such a spectrum is as C of these
        scatters.

        Parameters
        ----------
        n, seed : int
            Number of spectra, and seed of the random numbers.

        Examples
        --------
        >>> import icflow
        >>> fit = icflow.Model("powerlaw").fit("spec.pha")
        >>> 0.05 < fit.goodness(50) < 0.95
        True
        """
        n, seed = whole(n, "n"), seed_of(seed)
        library.configure(self.model.atomic_data)
        engine, model = self._record.engine, self._record.model
        counts = Draws(seed, "goodness").of(engine.expected(model, self.values), n)
        return goodness(self._record.result, engine.fit(model, counts))

    def plot(self, *, unfolded: bool = False) -> Figure:
        """Return a figure: data, model, components and residuals.

        Parameters
        ----------
        unfolded : bool
            Whether there is a panel of the source before the response too.

        Examples
        --------
        >>> import icflow
        >>> fit = icflow.Model("powerlaw").fit("spec.pha")
        >>> len(fit.plot(unfolded=True).axes)
        3
        """
        library.configure(self.model.atomic_data)
        with style.context():
            return fit_figure.of_fit(self._record, unfolded)

    def save(self, path: Name) -> None:
        """Write the fit: numbers (.json), a save file for XSPEC (.xcm) or the figure.

        Parameters
        ----------
        path : path
            ``.json``, ``.xcm``, ``.pdf``, ``.png`` or ``.svg``.

        Raises
        ------
        IcflowError
            If the suffix is another one, the file cannot be written, or XSPEC cannot load a name
            with a blank.

        Examples
        --------
        >>> import icflow
        >>> fit = icflow.Model("powerlaw").fit("spec.pha")
        >>> fit.save("fit.json")
        >>> fit.save("fit.txt")
        Traceback (most recent call last):
        icflow.errors.IcflowError: fit.txt: figures are written as .pdf, .png, .svg; ...
        """
        target = Path(path_of(path, "path"))
        check_writable(target.parent, "name another folder")
        if target.suffix == ".json":
            write_json(target, as_json(self._record))
        elif target.suffix == ".xcm":
            check_saved(self._record.files, target)
            save(self._record, target)
        else:
            style.check_suffix(target)
            style.write(lambda: fit_figure.of_fit(self._record, False), DPI, [target])

    def __repr__(self) -> str:
        return "\n".join(in_python(line) for line in as_text(self._record))

    def _repr_html_(self) -> str:
        result = self._record.result
        state = "converged" if self.converged else "<b>not converged</b>"
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        return (
            f"<p><code>{self.model.expression}</code>: {self.statistic} = {self.cstat:.2f} for "
            f"{self.bins} bins, {self.dof} degrees of freedom; {state}, {result.agreeing} of "
            f"{result.starts} starts agree</p>{notes}{as_html(self.parameters)}"
        )

    def _limits(self) -> dict[str, tuple[float, float]]:
        """Return the limits of the free parameters."""
        record = self._record
        return {name: record.engine.range_of(record.model, name) for name in record.result.free}

    def _moved(self, values: dict[str, float], name: str, step: float) -> dict[str, float]:
        """Return values with one parameter, and those linked to it, a step away."""
        linked = [n for n, link in self.model.parameters["link"].items() if link == name]
        return values | dict.fromkeys((name, *linked), values[name] + step)
