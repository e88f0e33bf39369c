"""XSPEC in a process of its own: the only file that imports `xspec` (PyXspec).

`icflow.engines.xspec.engine` starts this file as a program, in any Python 3.8 or
later that has PyXspec, and talks to it through pipes: one request a line, one
reply a line, both JSON. It needs the standard library and `xspec`, nothing
else. If XSPEC crashes, only this process dies.

XSPEC's state is global, and many of its errors are printed instead of raised.
So data and models are cleared before every request, every setting that
matters is made here, and the effect of each call is checked. File names are
relative to the working directory, which belongs to this process alone.

The first source is the spectrum's own; each background component is a further
source with a response of its own, in front of which stands a `constant`.
"""
# Python 3.8 knows no zip(strict=True).
# ruff: noqa: B905

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from typing import Any

# Expected counts are compared with the rate that XSPEC sums over sources.
RATE_TOLERANCE = 1e-4
SAME_VALUE = 1e-6
SIGMAS = 10.0  # by which faked counts may leave the expected number
CRITICAL_DELTA = 0.01  # XSPEC's own default, in C
PARAMETER_STEP = 0.01  # of numerical derivatives, a fraction of the value; XSPEC's default
# Of `error`, XSPEC's defaults: trials in one direction, and how closely the rise of C is met.
ERROR_TRIALS, ERROR_TOLERANCE = 20, 0.01
MOST_MOVES = 5  # to a lower minimum that `error` has met; then intervals are given up
COSMOLOGY = "70 0 0.73"


class Unexpected(Exception):
    """XSPEC did something else than it was asked for."""


def check(condition: bool, sentence: str) -> None:
    """Raise `Unexpected` unless a call had the effect that it should have."""
    if not condition:
        raise Unexpected(sentence)


class Session:
    """XSPEC with one instrument, one set of backgrounds and one set of tables.

    Parameters
    ----------
    setup : dict
        ``rmf``, ``arf`` (or None), ``exposure`` (s), ``channels`` (their
        number), ``abundances``, ``cross_sections``, ``apec_root`` and
        ``backgrounds``, a list of {``model``, ``rmf``, ``arf``}. A model is
        {``expression``, ``parameters``}, the latter a list in XSPEC's order of
        {``name``, ``value``} if fixed, with ``low`` and ``high`` if free, or
        {``name``, ``link``: number of another one}.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        import xspec

        self.xspec = xspec
        self.setup = setup
        self.names = ["", *(f"background{i}" for i in range(2, len(setup["backgrounds"]) + 2))]
        self._configure()

    def _configure(self) -> None:
        """Make every setting that XSPEC would otherwise read from a file of the user's."""
        xset, fit, setup = self.xspec.Xset, self.xspec.Fit, self.setup
        xset.allowPrompting = False
        xset.chatter = 0
        xset.logChatter = 0
        xset.abund = setup["abundances"]
        check(
            xset.abund.startswith(setup["abundances"]),
            f"the abundance table is {xset.abund} after `abund {setup['abundances']}`",
        )
        xset.xsect = setup["cross_sections"]
        check(
            xset.xsect.startswith(setup["cross_sections"]),
            f"the cross sections are {xset.xsect} after `xsect {setup['cross_sections']}`",
        )
        xset.cosmo = COSMOLOGY
        xset.addModelString("APECROOT", setup["apec_root"])
        check(
            dict(xset.modelStrings).get("APECROOT") == setup["apec_root"],
            f"`xset APECROOT {setup['apec_root']}` left {xset.modelStrings}",
        )
        fit.statMethod = "cstat"
        fit.method = "leven"
        fit.criticalDelta = CRITICAL_DELTA
        fit.delta = PARAMETER_STEP
        fit.query = "no"
        fit.renorm("prefit")
        check(fit.statMethod == "cstat", f"the fit statistic is {fit.statMethod}, not cstat")
        check(
            math.isclose(fit.criticalDelta, CRITICAL_DELTA),
            f"the critical delta is {fit.criticalDelta}, not {CRITICAL_DELTA}",
        )
        self._check_tables()

    def _check_tables(self) -> None:
        """Check that `apec` finds its tables: without them it prints a line and returns zeros."""
        self._clear()
        photons = [float(value) for value in self.xspec.Model("apec").values(0)]
        check(len(photons) > 0, "Model('apec').values(0) is empty where no spectrum is loaded")
        check(
            sum(photons) > 0,
            f"apec is zero everywhere: XSPEC finds no AtomDB tables {self.setup['apec_root']}; run "
            "`icflow fetch`, or set atomic_data.atomdb to a version that this HEASoft has",
        )
        self._clear()

    def versions(self) -> dict[str, Any]:
        """Return the versions of PyXspec and XSPEC."""
        pyxspec, xspec = self.xspec.Xset.version
        return {"pyxspec": str(pyxspec), "xspec": str(xspec)}

    # --- requests ------------------------------------------------------------------------

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the expected counts per channel of a ``model`` and the backgrounds."""
        self._fake_sources(request["model"])
        return {"counts": self._expected()}

    def fake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return Poisson counts of a ``model`` and the backgrounds, drawn with a ``seed``.

        The request may hold ``factors``, one for each background.
        """
        settings = self._fake_sources(request["model"], request.get("factors"))
        self.xspec.Xset.seed = request["seed"]
        # With responses and models of all sources in place, this one adds them.
        spectrum = self._fakeit(settings)
        values = [rate * spectrum.exposure for rate in spectrum.values]
        counts = [round(value) for value in values]
        check(
            all(abs(value - count) < 0.01 for value, count in zip(values, counts)),
            "faked counts are not whole numbers",
        )
        expected = spectrum.rate[3] * spectrum.exposure
        check(
            abs(sum(counts) - expected) <= SIGMAS * math.sqrt(expected) + SIGMAS,
            f"XSPEC faked {sum(counts)} counts where all sources together expect {expected:.6g}",
        )
        return {"counts": counts}

    def fit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fit a ``model`` to the grouped spectrum in the file ``pha``.

        Parameters
        ----------
        request : dict
            Besides these: ``energies`` (keV), ``bins`` (how many the selection
            leaves), ``factors`` (parameters of all background constants, as in
            a model), ``iterations`` (most, of one start), ``starts``, a list
            with the values of the free parameters of the source, and ``delta``,
            the rise of C at the ends of intervals, None for no intervals.

        Returns
        -------
        dict
            ``values`` and ``sigma`` of all parameters of the source, then of
            the background factors; ``cstat``, ``dof``, ``covariance`` (lower
            triangle by rows), ``cstats`` (where each start ended), ``gain``, by
            how much a repeated fit lowers C, and ``intervals`` of the free
            parameters of the source and the factors: (low, high, status) as
            XSPEC's `error` gives them, none if there is no `delta`.
        """
        self._load(request)
        self._fit_settings(request)
        model = request["model"]
        free = [i for i, p in enumerate(model["parameters"], 1) if "low" in p]
        bounded = "low" in request["factors"]
        ones = [1.0] * len(self.setup["backgrounds"]) if bounded else None
        fits: list[dict[str, Any]] = []
        problem: Exception | None = None
        for start in request["starts"]:
            try:
                fits.append(self._perform(dict(zip(free, start)), ones))
            except Exception as error:
                problem = error
        if not fits:
            raise problem or Unexpected("no starting points were given")
        best = min(fits, key=lambda one: one["cstat"])
        n_free = len(free) + (len(self.setup["backgrounds"]) if bounded else 0)
        check(
            best["dof"] == request["bins"] - n_free,
            f"XSPEC counts {best['dof']} degrees of freedom, expected {request['bins']} bins less "
            f"{n_free} free parameters",
        )
        values = best["values"]
        factors = values[len(model["parameters"]) :] if bounded else None
        try:
            again = self._perform({i: values[i - 1] for i in free}, factors)
            gain = best["cstat"] - again["cstat"]
        except Exception:
            again, gain = best, math.inf
        # One start is XSPEC's fit as it stands; with several, the lowest C is wanted.
        found = best if len(request["starts"]) == 1 or gain <= 0 else again
        found = {**found, "gain": gain, "intervals": []}
        if request["delta"] is not None and math.isfinite(gain):
            places = [("", number) for number in free]
            places += [(name, 1) for name in self.names[1:] if bounded]
            found = {**again, "gain": gain, "intervals": []}
            try:
                found = self._with_intervals(found, places, request["delta"])
            except Exception as error:  # costs the intervals, not the fit
                sys.stderr.write(f"no intervals: {explain(error)}\n")
        return {**found, "cstats": [one["cstat"] for one in fits]}

    # --- sources ---------------------------------------------------------------------------

    def _clear(self) -> None:
        self.xspec.AllData.clear()
        self.xspec.AllModels.clear()
        check(self.xspec.AllData.nSpectra == 0, "spectra stayed after `data none`")

    def _fake_sources(self, model: dict[str, Any], factors: list[float] | None = None) -> Any:
        """Set all sources up around a fake spectrum; return the settings of `fakeit`."""
        self._clear()
        self._model(model, 1)
        settings = self.xspec.FakeitSettings(
            response=self.setup["rmf"],
            arf=self.setup["arf"] or "",
            exposure=repr(self.setup["exposure"]),
            fileName="fake.pha",
        )
        self._respond(self._fakeit(settings))
        for position, background in enumerate(self.setup["backgrounds"]):
            constant = {} if factors is None else {"value": factors[position]}
            self._background(background["model"], constant, position + 2)
        return settings

    def _background(self, model: dict[str, Any], constant: dict[str, Any], source: int) -> None:
        """Define a background source with changes to the `constant` in front of it."""
        first, *others = model["parameters"]
        parameters = [{**first, **constant}, *others]
        self._model({"expression": model["expression"], "parameters": parameters}, source)

    def _fakeit(self, settings: Any) -> Any:
        """Fake one spectrum in memory and return it."""
        data = self.xspec.AllData
        data.fakeit(1, settings, noWrite=True)
        check(data.nSpectra == 1, f"{data.nSpectra} spectra are loaded after fakeit, not 1")
        spectrum = data(1)
        exposure, channels = self.setup["exposure"], self.setup["channels"]
        check(
            math.isclose(spectrum.exposure, exposure, rel_tol=SAME_VALUE),
            f"the fake spectrum has an exposure of {spectrum.exposure} s, not {exposure} s",
        )
        check(
            len(spectrum.values) == channels,
            f"the fake spectrum has {len(spectrum.values)} channels, not {channels}",
        )
        return spectrum

    def _respond(self, spectrum: Any) -> None:
        """Give a spectrum the responses of the background sources."""
        for position, background in enumerate(self.setup["backgrounds"], start=1):
            spectrum.multiresponse[position] = background["rmf"]
            if background["arf"] is not None:
                spectrum.multiresponse[position].arf = background["arf"]
            self._check_response(spectrum.multiresponse[position], background, position + 1)

    def _check_response(self, response: Any, files: dict[str, Any], source: int) -> None:
        found = os.path.basename(response.rmf)
        check(
            found.startswith(files["rmf"]),
            f"the response of source {source} is {found}, not {files['rmf']}",
        )
        if files["arf"] is not None:
            found = os.path.basename(response.arf)
            check(
                found.startswith(files["arf"]),
                f"the effective area of source {source} is {found}, not {files['arf']}",
            )

    def _model(self, model: dict[str, Any], source: int) -> Any:
        """Define the model of one source and set its parameters."""
        name, parameters = self.names[source - 1], model["parameters"]
        if source == 1:
            made = self.xspec.Model(model["expression"])
        else:
            made = self.xspec.Model(model["expression"], name, source)
        found = [
            f"{component}.{parameter}"
            for component in made.componentNames
            for parameter in getattr(made, component).parameterNames
        ]
        expected = [parameter["name"] for parameter in parameters]
        check(
            found == expected,
            f"XSPEC names the parameters of {model['expression']} {', '.join(found)}; expected "
            f"{', '.join(expected)}",
        )
        self._set(made, dict(enumerate(parameters, start=1)))
        return made

    def _set(self, model: Any, parameters: dict[int, dict[str, Any]]) -> None:
        """Set parameters by number, and check values, limits, links and what is frozen."""
        texts = {
            number: self._text(model(number), parameter) for number, parameter in parameters.items()
        }
        model.setPars(texts)
        for number, parameter in parameters.items():
            found = model(number)
            if "link" in parameter:
                check(bool(found.link), f"{parameter['name']} is not linked after {texts[number]}")
                continue
            check(
                math.isclose(
                    found.values[0], parameter["value"], rel_tol=SAME_VALUE, abs_tol=1e-30
                ),
                f"{parameter['name']} is {found.values[0]} after setting {texts[number]}",
            )
            if "low" in parameter:
                low, high = parameter["low"], parameter["high"]
                check(
                    all(
                        math.isclose(limit, wanted, rel_tol=SAME_VALUE, abs_tol=1e-30)
                        for limit, wanted in zip(found.values[2:6], (low, low, high, high))
                    ),
                    f"{parameter['name']} has the limits {list(found.values[2:6])} after setting "
                    f"{texts[number]}",
                )
            check(
                len(found.values) == 1 or bool(found.frozen) != ("low" in parameter),
                f"{parameter['name']} is {'' if found.frozen else 'not '}frozen after setting "
                f"{texts[number]}",
            )

    @staticmethod
    def _text(found: Any, parameter: dict[str, Any]) -> str:
        """Return the text that sets a parameter: value, step and hard and soft limits, or link."""
        if "link" in parameter:
            return f"={parameter['link']}"
        value = parameter["value"]
        if len(found.values) == 1:  # a switch of the model, not a parameter to fit
            return f"{value:g}"
        if "low" not in parameter:
            return f"{value!r},-1"
        step = abs(found.values[1]) or PARAMETER_STEP
        low, high = parameter["low"], parameter["high"]
        return f"{value!r},{step!r},{low!r},{low!r},{high!r},{high!r}"

    def _models(self) -> list[Any]:
        return [self.xspec.AllModels(1, name) for name in self.names]

    def _expected(self) -> list[float]:
        """Return the expected counts of all sources in the noticed channels."""
        spectrum = self.xspec.AllData(1)
        folded = [model.folded(1) for model in self._models()]
        check(
            all(len(rates) == len(folded[0]) for rates in folded),
            f"sources fold to {[len(rates) for rates in folded]} channels",
        )
        rates = [sum(of_channel) for of_channel in zip(*folded)]
        total = sum(rates)
        check(
            math.isclose(total, spectrum.rate[3], rel_tol=RATE_TOLERANCE),
            f"the folded sources sum to {total} counts/s, XSPEC says {spectrum.rate[3]}",
        )
        return [rate * spectrum.exposure for rate in rates]

    # --- fits ----------------------------------------------------------------------------------

    def _load(self, request: dict[str, Any]) -> None:
        """Load a grouped spectrum with all its sources, and select energies."""
        self._clear()
        spectrum = self.xspec.Spectrum(request["pha"])
        data = self.xspec.AllData
        check(data.nSpectra == 1, f"{data.nSpectra} spectra are loaded, not 1")
        spectrum.response = self.setup["rmf"]
        if self.setup["arf"] is not None:
            spectrum.response.arf = self.setup["arf"]
        self._check_response(spectrum.response, self.setup, 1)
        self._respond(spectrum)
        self._model(request["model"], 1)
        for source, background in enumerate(self.setup["backgrounds"], start=2):
            self._background(background["model"], request["factors"], source)
        low, high = request["energies"]
        spectrum.ignore(f"**-{float(low)!r} {float(high)!r}-**")
        check(
            len(spectrum.noticed) == request["bins"],
            f"XSPEC leaves {len(spectrum.noticed)} bins between {low} and {high} keV, expected "
            f"{request['bins']}",
        )

    def _fit_settings(self, request: dict[str, Any]) -> None:
        fit = self.xspec.Fit
        fit.nIterations = request["iterations"]
        check(
            fit.nIterations == request["iterations"],
            f"the number of iterations is {fit.nIterations}, not {request['iterations']}",
        )

    def _perform(self, start: dict[int, float], factors: list[float] | None) -> dict[str, Any]:
        """Fit from given values of the source's and the backgrounds' free parameters."""
        models = self._models()
        self._start(models[0], start)
        for model, factor in zip(models[1:], factors or []):
            self._start(model, {1: factor})
        return self._perform_here()

    @staticmethod
    def _start(model: Any, values: dict[int, float]) -> None:
        """Set values of free parameters, and check that they were taken."""
        if values:
            model.setPars(values)
        for number, value in values.items():
            found = model(number)
            check(
                math.isclose(found.values[0], value, rel_tol=SAME_VALUE, abs_tol=1e-30),
                f"{found.name} is {found.values[0]} after setting it to {value!r}",
            )

    def _perform_here(self) -> dict[str, Any]:
        """Fit from where the parameters are."""
        models = self._models()
        fit = self.xspec.Fit
        fit.perform()
        check(math.isfinite(fit.statistic), f"the fit ended with C = {fit.statistic}")
        numbers = range(1, models[0].nParameters + 1)
        parameters = [models[0](number) for number in numbers] + [m(1) for m in models[1:]]
        return {
            "cstat": fit.statistic,
            "dof": fit.dof,
            "values": [parameter.values[0] for parameter in parameters],
            "sigma": [parameter.sigma for parameter in parameters],
            "covariance": list(fit.covariance),
        }

    def _with_intervals(
        self, found: dict[str, Any], places: list[tuple[str, int]], delta: float
    ) -> dict[str, Any]:
        """Return a fit with the intervals of the free parameters: (name of the model, number).

        XSPEC stands at the fit. Where `error` meets a lower C it moves there: then
        a fit from there takes the place of the old one, and all intervals are
        searched anew.
        """
        fit = self.xspec.Fit
        for _ in range(MOST_MOVES):
            intervals = []
            for name, number in places:
                intervals.append(self._interval(name, number, delta))
                if fit.statistic < found["cstat"] - CRITICAL_DELTA:
                    break
            else:
                return {**found, "intervals": intervals}
            lower = fit.statistic
            found = self._perform_here()
            found["gain"] = lower - found["cstat"]
        return {**found, "intervals": []}

    def _interval(self, name: str, number: int, delta: float) -> list[Any]:
        """Search the interval of one parameter; return its ends and XSPEC's status of them."""
        label = f"{name}:{number}" if name else str(number)
        # The delta has a decimal point or an exponent: an integer would be a parameter.
        command = f"stopat {ERROR_TRIALS} {ERROR_TOLERANCE} {float(delta)!r} {label}"
        try:
            self.xspec.Fit.error(command)
        except Exception as problem:
            self.xspec.Fit.perform()  # after a failed search XSPEC knows of no valid fit
            return [math.nan, math.nan, explain(problem)]
        low, high, status = self.xspec.AllModels(1, name)(number).error
        return [float(low), float(high), str(status)]


# --- the program -----------------------------------------------------------------------------


def explain(error: Exception) -> str:
    """Return what went wrong and, where XSPEC raised it, the line of this file that called it."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Unexpected):
        return text
    lines = [f.line for f in traceback.extract_tb(error.__traceback__) if f.filename == __file__]
    return f"{text} (in {lines[-1]})" if lines else text


def answer(session: Session | None, request: dict[str, Any]) -> tuple[Session | None, Any]:
    """Carry out one request; return the session and the reply."""
    try:
        if request["do"] == "setup":
            session = Session(request)
            return session, session.versions()
        return session, getattr(session, request["do"])(request)
    except ImportError as error:
        return session, {"missing": explain(error)}
    except Exception as error:
        return session, {"error": explain(error)}


def main() -> None:
    """Answer requests until there are no more.

    XSPEC and its models print to standard output whatever the chatter, and may
    read from standard input: the pipes are moved out of their way first.
    """
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    session: Session | None = None
    for line in requests:
        session, reply = answer(session, json.loads(line))
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
    # Not through XSPEC's own way out, which may crash.
    os._exit(0)


if __name__ == "__main__":
    # The folder of this file holds modules that must not hide others of the same name.
    sys.path[:] = [path for path in sys.path if path != os.path.dirname(os.path.abspath(__file__))]
    main()
