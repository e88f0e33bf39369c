"""A model: an expression of XSPEC, and what each of its parameters does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from icflow.api.arguments import counts as checked_counts
from icflow.api.arguments import energies as energies_of
from icflow.api.arguments import (
    floats,
    is_listed,
    limits_of,
    listed,
    mapping,
    number,
    path,
    python_words,
    whole,
)
from icflow.api.arguments import seed as seed_of
from icflow.api.fit import Fit
from icflow.api.flux import band_flux
from icflow.api.instrument import Instrument, Name, bins_in, energies_in, engine_of
from icflow.api.likelihood import Likelihood
from icflow.api.printing import as_html
from icflow.api.spectrum import Spectrum, as_spectra, common_choice
from icflow.api.units import shown, unit_of
from icflow.config import AtomicData, FitModel, Free, Link, Scenario, checked
from icflow.defaults import CROSS_NORMALISATION
from icflow.engines.columns import columns_of
from icflow.engines.embedded.folding import FACTOR
from icflow.errors import IcflowError
from icflow.models import library
from icflow.models.expression import parse
from icflow.models.priors import Prior
from icflow.models.scenario import Setting, complete, resolve
from icflow.observation import fitting
from icflow.ogip.observation import SpectrumFiles
from icflow.settings import FitSpectrumSettings
from icflow.typing import DrawnCounts, Floats

if TYPE_CHECKING:
    import pandas as pd

# The name under which random numbers are drawn.
FAKE = "fake"
# Starts of fits, as those of `icflow fit`.
STARTS = 8


class Model:
    """A sum of absorbed components, with what is known of its parameters.

    Parameters
    ----------
    expression : str
        As in XSPEC: ``"tbabs*(apec+powerlaw)"``.
    parameters : mapping, optional
        By name, ``component.parameter`` as in PyXspec (``apec_3.kT`` is of the third component):

        - a number or a quantity: the parameter has this value;
        - two of them, ``(low, high)``: it is free between these limits;
        - a name: it equals this other parameter;
        - a mapping as in a configuration: ``{"free": [0.5, 15], "start": 5}``, or a prior,
          ``{"uniform": [1, 10]}`` or ``{"log_uniform": [1e-4, 1e-2]}``.

        ``factor.FPMB``, between the first of several spectra and another, may have a number too.
        Others are free in fits, within the limits that `icflow fit` has by default, and have
        XSPEC's default where spectra are predicted or simulated.
    abundances, cross_sections : str
        As in XSPEC's ``abund`` and ``xsect``.
    atomdb : path, optional
        Folder of the AtomDB tables; see `icflow.data_file` for where they are looked for.

    Raises
    ------
    IcflowError
        If the expression, a name or a table of abundances is wrong, a value is not finite or
        outside XSPEC's hard limits, or a unit does not fit.

    Examples
    --------
    >>> import icflow
    >>> model = icflow.Model("tbabs*powerlaw", {"TBabs.nH": 0.01, "powerlaw.PhoIndex": (1, 3)})
    >>> model.parameters[["value", "low", "high", "unit"]]
                       value  low  high              unit
    name
    TBabs.nH            0.01  NaN   NaN       1e+22 / cm2
    powerlaw.PhoIndex    NaN  1.0   3.0
    powerlaw.norm        NaN  NaN   NaN  ph / (keV s cm2)
    """

    def __init__(
        self,
        expression: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        abundances: str = "angr",
        cross_sections: str = "vern",
        atomdb: Name | None = None,
    ) -> None:
        folder = {} if atomdb is None else {"folder": path(atomdb, "atomdb")}
        physics = {"abundances": abundances, "cross_sections": cross_sections, **folder}
        self.atomic_data = checked(AtomicData, physics, "Model")
        library.check_abundances(self.atomic_data)
        if not isinstance(expression, str):
            raise IcflowError(f"expression is {expression!r}; give one, such as 'tbabs*apec'")
        fitting.check_expression(expression)
        self.expression = parse(expression).text
        named = {} if parameters is None else mapping(parameters, "parameters")
        given = {name: self._setting(name, value) for name, value in named.items()}
        complete(parse(expression), _of_source(given), "parameters")
        for name, setting in given.items():
            if isinstance(setting, Link):
                self._check_link(name, setting.link, given)
        self.settings: dict[str, float | Link | Free | Prior] = given

    # --- what it is --------------------------------------------------------------------

    @property
    def parameters(self) -> pd.DataFrame:
        """What each parameter does: value, limits (low, high), link or prior, and unit."""
        import pandas as pd

        rows = []
        for name in parse(self.expression).parameters:
            setting = self.settings.get(name)
            row: dict[str, Any] = {"name": name, "value": np.nan, "low": np.nan, "high": np.nan}
            row["link"], row["unit"] = "", shown(self._unit(name))
            if isinstance(setting, Link):
                row["link"] = setting.link
            elif isinstance(setting, Free):
                row["low"], row["high"] = setting.free
                row["value"] = np.nan if setting.start is None else setting.start
            elif isinstance(setting, Prior):
                row["low"], row["high"] = setting.bounds
            elif setting is not None:
                row["value"] = setting
            rows.append(row)
        return pd.DataFrame(rows).set_index("name")

    def using(self, parameters: Mapping[str, Any]) -> Model:
        """Return the same model with some parameters otherwise.

        Parameters
        ----------
        parameters : mapping
            As of `Model`; None for one that is to be as if it had not been given.

        Examples
        --------
        >>> import icflow
        >>> icflow.Model("powerlaw").using({"powerlaw.PhoIndex": 2})
        <icflow.Model powerlaw; powerlaw.PhoIndex = 2; others free>
        """
        merged: dict[str, Any] = {**self.settings, **mapping(parameters, "parameters")}
        atomic = self.atomic_data
        model = Model(
            self.expression,
            {name: value for name, value in merged.items() if value is not None},
            abundances=atomic.abundances,
            cross_sections=atomic.cross_sections,
        )
        model.atomic_data = atomic
        return model

    def __repr__(self) -> str:
        words = [self.expression, *(f"{n} {_words(s)}" for n, s in self.settings.items())]
        left = len(parse(self.expression).parameters) > len(self.settings)
        return f"<icflow.Model {'; '.join([*words, *['others free'] * left])}>"

    def _repr_html_(self) -> str:
        return f"<p><code>{self.expression}</code></p>{as_html(self.parameters)}"

    def _unit(self, name: str) -> Any:
        expression = parse(self.expression)
        for component in expression.components:
            if name in component.parameters:
                own = name.rpartition(".")[2]
                return unit_of(component.definition.name, own, component.parameters[name].unit)
        return None

    def _setting(self, name: str, value: Any) -> float | Link | Free | Prior:
        """Return what a parameter does, as configurations have it."""
        where, unit = f"parameters.{name}", self._unit(name)
        if isinstance(value, Link | Free | Prior):
            return value
        if name.startswith(FACTOR) and (isinstance(value, str | Mapping) or is_listed(value)):
            raise IcflowError(
                f"{where} is {value!r}; give a number, or limits of all factors with "
                "cross_normalisation where spectra are fitted"
            )
        if isinstance(value, str):
            return Link(link=value)
        if isinstance(value, Mapping):
            plain = {key: _plain(given, unit, where) for key, given in value.items()}
            tree = {"expression": self.expression, "parameters": {name: plain}}
            if "free" in value:
                return checked(FitModel, tree, "Model").parameters[name]
            return checked(Scenario, tree, "Model").parameters[name]
        if is_listed(value):
            return checked(Free, {"free": limits_of(value, unit, where, "limits")}, where)
        return number(value, unit, where)

    def _check_link(self, name: str, target: str, given: Mapping[str, Any]) -> None:
        allowed = [
            other
            for other in parse(self.expression).parameters
            if other != name and not isinstance(given.get(other), Link)
        ]
        if target not in allowed:
            raise IcflowError(
                f"parameters.{name} is linked to {target!r}; name a parameter that is not linked "
                f"itself; allowed: {', '.join(allowed)}"
            )

    # --- what it predicts ----------------------------------------------------------------

    def predict(self, instrument: Instrument | Sequence[Instrument]) -> Floats:
        """Return the expected counts per channel, background included, shape (n_channels,).

        Parameters
        ----------
        instrument : Instrument or list of Instrument
            The channels of several stand one after another.

        Raises
        ------
        IcflowError
            If a file cannot be used, or a parameter has no value but limits or a prior.

        Examples
        --------
        >>> import icflow
        >>> toy = icflow.Instrument("resp.rmf", "area.arf", exposure=1e4)
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": 2, "powerlaw.norm": 1})
        >>> print(f"{model.predict(toy).sum():.4g} counts")
        4.631e+05 counts
        """
        engine = engine_of(instrument, self.atomic_data)
        return engine.predict(self.expression, self._values("predicted"))

    def draw(
        self, instrument: Instrument | Sequence[Instrument], n: int = 1, seed: int = 1
    ) -> pd.DataFrame:
        """Return the true parameters of the spectra that `fake` draws, one row for each.

        Parameters
        ----------
        instrument, n, seed
            As of `fake`.

        Examples
        --------
        >>> import icflow
        >>> toy = icflow.Instrument("resp.rmf", "area.arf", exposure=1e4)
        >>> model = icflow.Model("powerlaw", {"powerlaw.norm": {"uniform": [1, 2]}})
        >>> model.draw(toy, n=3).columns.tolist()
        ['powerlaw.PhoIndex', 'powerlaw.norm']
        """
        import pandas as pd

        return pd.DataFrame(self._fake(instrument, n, seed)[1])

    def fake(
        self, instrument: Instrument | Sequence[Instrument], n: int = 1, seed: int = 1
    ) -> DrawnCounts:
        """Draw spectra: parameters from their priors, counts from Poisson's distribution.

        Spectrum 4711 is the same however many are drawn with it.

        Parameters
        ----------
        instrument : Instrument or list of Instrument
            The channels of several stand one after another.
        n : int
            Number of spectra.
        seed : int
            Of the random numbers.

        Returns
        -------
        ndarray of int32, shape (n, n_channels)

        Raises
        ------
        IcflowError
            If a file cannot be used, or a parameter has limits but no prior.

        Examples
        --------
        >>> import icflow
        >>> toy = icflow.Instrument("resp.rmf", "area.arf", exposure=1e4)
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": {"uniform": [1, 3]}})
        >>> model.fake(toy, n=3).shape
        (3, 400)
        >>> model.draw(toy, n=3)["powerlaw.PhoIndex"].round(2).tolist()
        [1.5, 1.12, 2.27]
        """
        return self._fake(instrument, n, seed)[0]

    def _fake(
        self, instrument: Instrument | Sequence[Instrument], n: int, seed: int
    ) -> tuple[DrawnCounts, dict[str, Floats]]:
        """Return spectra and their true parameters."""
        indices, seed = range(whole(n, "n")), seed_of(seed)
        engine = engine_of(instrument, self.atomic_data)
        return engine.fake(self.expression, self._drawn(), seed, FAKE, indices)

    def flux(
        self, low: Any, high: Any, *, component: str | None = None, absorbed: bool = True
    ) -> float:
        """Return the energy flux of the model between two energies, erg/cm²/s.

        Parameters
        ----------
        low, high : float or Quantity
            Energies, keV.
        component : str, optional
            Additive component, such as ``powerlaw``; by default all.
        absorbed : bool
            Whether multiplicative models count, as in XSPEC's ``flux``.

        Raises
        ------
        IcflowError
            If there is no such component, or a parameter has no value.

        Examples
        --------
        >>> import icflow
        >>> model = icflow.Model("powerlaw", {"powerlaw.PhoIndex": 2, "powerlaw.norm": 1e-3})
        >>> float(f"{model.flux(20, 80):.4g}")  # 1e-3 ln(80/20) keV
        2.221e-12
        """
        library.configure(self.atomic_data)
        values = resolve(self._values("known"), {})
        return band_flux(self.expression, values, energies_of((low, high)), component, absorbed)

    def _drawn(self) -> dict[str, float | Link | Prior]:
        """Return the parameters of simulations: values, links and priors."""
        drawn: dict[str, float | Link | Prior] = {}
        for name, setting in _of_source(self.settings).items():
            if isinstance(setting, Free):
                raise IcflowError(
                    f"parameters.{name} has limits and no value; give it one, or a prior"
                )
            drawn[name] = setting
        return drawn

    def _values(self, done: str) -> dict[str, Any]:
        """Return fixed values and links, XSPEC's defaults where none is given."""
        values = complete(parse(self.expression), self._drawn(), "parameters")
        for name, setting in values.items():
            if isinstance(setting, Prior):
                raise IcflowError(
                    f"parameters.{name} has a prior, and is {done} with a value; give it one"
                )
        return values

    # --- what is fitted ------------------------------------------------------------------

    @python_words()
    def fit(
        self,
        spectra: Spectrum | Name | Sequence[Spectrum | Name],
        *,
        background: Any = None,
        background_range: float = 0.0,
        cross_normalisation: Sequence[float] = CROSS_NORMALISATION,
        strategy: str = "thorough",
        starts: int = STARTS,
    ) -> Fit:
        """Fit the model to a spectrum, or to several jointly.

        Factors between the first spectrum and the others are free.

        Parameters
        ----------
        spectra : Spectrum or path, or list of these
        background : path or list of path, optional
            Instead of those that the spectra have, of all or once for each.
        background_range : float
            Fraction by which norms of described backgrounds may leave theirs.
        cross_normalisation : pair of float
            Limits of the factors between the first spectrum and the others.
        strategy : {"thorough", "plain"}
            The lowest minimum, or the one in which XSPEC ends from one start.
        starts : int
            Starting points.

        Returns
        -------
        Fit

        Raises
        ------
        IcflowError
            If a spectrum, its response or the model cannot be used, or the fit is impossible.

        Examples
        --------
        >>> import icflow
        >>> spectrum = icflow.read_spectrum("spec.pha", group_min=20)
        >>> fit = icflow.Model("powerlaw").fit(spectrum)
        >>> print(f"{fit.cstat:.1f} for {fit.dof}")
        337.3 for 378
        >>> fit.parameters.loc["powerlaw.PhoIndex", ["value", "error"]].round(4).tolist()
        [2.0051, 0.0039]
        """
        kept = background_range, cross_normalisation
        asked = self._asked(spectra, background, *kept, strategy=strategy, starts=starts)
        return Fit(fitting.fit(*asked), self)

    @python_words()
    def likelihood(
        self,
        spectra: Spectrum | Name | Sequence[Spectrum | Name],
        *,
        background: Any = None,
        background_range: float = 0.0,
        cross_normalisation: Sequence[float] = CROSS_NORMALISATION,
    ) -> Likelihood:
        """Return the likelihood of spectra as a plain function of the free parameters.

        Parameters
        ----------
        spectra, background, background_range, cross_normalisation
            As of `fit`.

        Examples
        --------
        >>> import icflow
        >>> spectrum = icflow.read_spectrum("spec.pha", group_min=20)
        >>> likelihood = icflow.Model("powerlaw").likelihood(spectrum)
        >>> likelihood.names
        ('powerlaw.PhoIndex', 'powerlaw.norm')
        >>> print(f"{-2 * likelihood([2.0, 1.0]):.1f}")
        339.7
        """
        kept = background_range, cross_normalisation
        asked = self._asked(spectra, background, *kept, starts=STARTS)
        model, engine = fitting.prepare(*asked)
        priors = {n: s for n, s in self.settings.items() if isinstance(s, Prior)}
        return Likelihood(model, engine, priors)

    @python_words()
    def fit_many(
        self,
        counts: Any,
        instrument: Instrument | Sequence[Instrument],
        *,
        energies: Any = None,
        group_min: int = 0,
        frozen: Mapping[str, Any] | None = None,
        background_range: float = 0.0,
        starts: int = STARTS,
    ) -> pd.DataFrame:
        """Fit the model to many spectra, each by itself.

        Parameters
        ----------
        counts : array_like, shape (n, n_channels)
            All channels of every spectrum, as `fake` gives them.
        instrument : Instrument or list of Instrument
            What they were observed with.
        energies : pair of float or Quantity, optional
            Lowest and highest energy to fit, keV; by default 3 to 80 where there are channels.
        group_min : int
            Least counts in a bin, made as `fit` makes them.
        frozen : mapping of str to array_like or Quantity, shape (n,), optional
            Parameters that are known of each spectrum, such as its redshift.
        background_range, starts
            As of `fit`.

        Returns
        -------
        DataFrame
            One row for each spectrum: ``cstat``, ``dof``, ``converged``, ``status`` (``ok``, or
            why there is no fit) and so on; for each parameter its value and ``NAME_error``.

        Raises
        ------
        IcflowError
            If arrays have the wrong length or are no counts, the energies reach outside the
            response, what is known is outside XSPEC's hard limits, or the model cannot be used.

        Examples
        --------
        >>> import icflow
        >>> toy = icflow.Instrument("resp.rmf", "area.arf", exposure=1e4)
        >>> model = icflow.Model("powerlaw", {"powerlaw.norm": {"uniform": [0.5, 1.5]}})
        >>> counts = model.using({"powerlaw.PhoIndex": 2}).fake(toy, n=3)
        >>> fits = model.fit_many(counts, toy, energies=(2, 30))
        >>> fits["status"].tolist(), len(fits.columns)
        (['ok', 'ok', 'ok'], 14)
        """
        import pandas as pd

        engine = engine_of(instrument, self.atomic_data)
        rows = checked_counts(counts, engine.n_channels, "the instrument")
        low, high = energies_in(engine, energies)
        held = {} if frozen is None else mapping(frozen, "frozen")
        known = {name: self._known(name, values, len(rows)) for name, values in held.items()}
        settings = self._settings(
            energies=[low, high],
            group_min=group_min,
            starts=starts,
            background_range=number(background_range, None, "background_range"),
        )
        model = fitting.model_of(settings, (low, high))
        bins = bins_in(engine, (low, high), settings.group_min)
        results = engine.fit(model, settings, rows, known, tuple(known), bins)
        return pd.DataFrame(columns_of(results))

    def _known(self, name: str, values: Any, n: int) -> Floats:
        """Return what is known of each spectrum."""
        array = floats(values, f"frozen.{name}", self._unit(name))
        if array.shape != (n,) or not np.all(np.isfinite(array)):
            raise IcflowError(
                f"frozen.{name} has the shape {array.shape}, or is not finite; give a number for "
                f"each of the {n} spectra"
            )
        for extreme in (array.min(), array.max()) if n else ():
            complete(parse(self.expression), {name: float(extreme)}, "frozen")
        return array

    def _spectra(self, spectra: Any, background: Any) -> list[Spectrum]:
        """Return spectra, read where files are named, with their backgrounds."""
        chosen = as_spectra(spectra)
        if background is None:
            return chosen
        given = listed(background)
        if len(given) not in (1, len(chosen)):
            raise IcflowError(
                f"background names {len(given)} files for {len(chosen)} spectra; give one, or one "
                "for each"
            )
        each = given if len(given) == len(chosen) else given * len(chosen)
        return [one.using(background=name) for one, name in zip(chosen, each, strict=True)]

    def _asked(
        self, spectra: Any, background: Any, reach: Any, factors: Any, **own: Any
    ) -> tuple[FitSpectrumSettings, list[SpectrumFiles], tuple[float, float]]:
        """Return what `icflow.observation.fitting.fit` takes: settings, checked files, energies.

        Energies and bins are those that the spectra ask for.
        """
        chosen = self._spectra(spectra, background)
        settings = self._settings(
            **common_choice(chosen),
            background_range=number(reach, None, "background_range"),
            cross_normalisation=limits_of(factors, None, "cross_normalisation"),
            **own,
        )
        library.configure(self.atomic_data)
        return settings, *fitting.together(settings, [spectrum.files for spectrum in chosen])

    def _settings(self, **own: Any) -> FitSpectrumSettings:
        tree: dict[str, Any] = {"freeze": {}, "link": {}, "limits": {}, "start": {}}
        for name, setting in self.settings.items():
            if isinstance(setting, Link):
                tree["link"][name] = setting.link
            elif isinstance(setting, Prior):
                tree["limits"][name] = list(setting.bounds)
            elif isinstance(setting, Free):
                tree["limits"][name] = list(setting.free)
                if setting.start is not None:
                    tree["start"][name] = setting.start
            else:
                tree["freeze"][name] = setting
        tree |= {"expression": self.expression, "background_range": 0.0, **own}
        return checked(FitSpectrumSettings, tree | self.atomic_data.model_dump(), "fit")


def _of_source(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the parameters of the source, without the factors between spectra."""
    return {name: s for name, s in settings.items() if not name.startswith(FACTOR)}


def _plain(value: Any, unit: Any, name: str) -> Any:
    """Return numbers of the quantities in a mapping of a configuration."""
    if is_listed(value):
        return [_plain(part, unit, name) for part in value]
    return number(value, unit, name) if hasattr(value, "unit") else value


def _words(setting: float | Link | Free | Prior) -> str:
    if isinstance(setting, Link):
        return f"= {setting.link}"
    if isinstance(setting, Free):
        return "from {:g} to {:g}".format(*setting.free)
    return setting.words if isinstance(setting, Prior) else f"= {setting:g}"
