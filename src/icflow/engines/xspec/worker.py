"""XSPEC in a process of its own: the only file that imports `xspec` (PyXspec).

`icflow.engines.xspec.process` starts this file as a program, in any Python 3.8
or later that has PyXspec, and talks to it through pipes: one request a line,
one reply a line, both JSON. It needs the standard library and `xspec`, nothing
else. If XSPEC crashes, only this process dies.

XSPEC's state is global, and many of its errors are printed instead of raised.
So data and models are cleared before every request, every setting that
matters is made here, and the effect of each call is checked. Only a fake after
a fake, which would set up the same again, takes the place of the one before. File
names are relative to the working directory, which belongs to this process alone.

Requests
--------
``do`` says what: ``setup`` (first, see `Session`), ``predict``, ``fake`` or
``fit``, which are methods of the session. The last three hold ``models``, one
for each source of the set-up: {``expression``, ``parameters``}, the latter
{name: setting} in XSPEC's order. A setting is a number (fixed), [value, lower,
upper limit] (free) or ``"=3"`` (linked to the third parameter of its model).

The reply is what the method returns, or {``error``: what went wrong}, or
{``unable``: what this XSPEC cannot do}, or {``missing``: why there is no PyXspec}.
"""
# Python 3.8 knows no zip(strict=True), and collections.abc has nothing to subscribe to.
# ruff: noqa: B905, UP035

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from typing import Any, Callable

# Expected counts are compared with the rate that XSPEC sums over sources.
RATE_TOLERANCE = 1e-4
SAME_VALUE = 1e-6
SIGMAS = 10.0  # by which faked counts may leave the expected number
CRITICAL_DELTA = 0.01  # XSPEC's own default, in C
PARAMETER_STEP = 0.01  # of numerical derivatives, a fraction of the value; XSPEC's default
# Of `error`, XSPEC's defaults: trials in one direction, and how closely the rise of C is met.
ERROR_TRIALS, ERROR_TOLERANCE = 20, 0.01
MOST_MOVES = 5  # to a lower minimum that `error` has met; then intervals are given up
MOST_ROUNDS = 10  # of a fit that gains each time that it is repeated
COSMOLOGY = "70 0 0.73"


class Unexpected(Exception):
    """XSPEC did something else than it was asked for."""


class Unable(Unexpected):
    """The XSPEC at hand cannot do what it is asked for, whatever the spectrum."""


def check(condition: bool, sentence: str) -> None:
    """Raise `Unexpected` unless a call had the effect that it should have."""
    if not condition:
        raise Unexpected(sentence)


def same(value: float, wanted: float) -> bool:
    """Whether XSPEC has taken a number."""
    return math.isclose(value, wanted, rel_tol=SAME_VALUE, abs_tol=1e-30)


class Session:
    """XSPEC with the responses of all sources and one set of tables.

    The first source is the spectrum's own, each background component a further
    one. Free are, in this order, all parameters with limits of all sources.

    Parameters
    ----------
    setup : dict
        ``sources``, a list of {``rmf``, ``arf`` (or None)}, ``exposure`` (s),
        ``channels`` (their number), ``abundances``, ``cross_sections`` and
        ``apec_root``.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        import xspec

        self.xspec = xspec
        self.setup = setup
        self.names = ["", *(f"background{i}" for i in range(2, len(setup["sources"]) + 1))]
        # Source, counted from 0, and number, counted from 1, of the free parameters.
        self.free: list[tuple[int, int]] = []
        # The models of the fake spectrum that is loaded, if one is.
        self.faked: list[dict[str, Any]] | None = None
        self._configure()
        self._check_tables()

    def _configure(self) -> None:
        """Make every setting that XSPEC would otherwise read from a file of the user's."""
        xset, fit, setup = self.xspec.Xset, self.xspec.Fit, self.setup
        xset.allowPrompting = False
        xset.chatter = 0
        xset.logChatter = 0
        self._assign(xset, "abund", setup["abundances"])
        self._assign(xset, "xsect", setup["cross_sections"])
        xset.cosmo = COSMOLOGY
        xset.addModelString("APECROOT", setup["apec_root"])
        check(
            dict(xset.modelStrings).get("APECROOT") == setup["apec_root"],
            f"`xset APECROOT {setup['apec_root']}` left {xset.modelStrings}",
        )
        self._assign(fit, "statMethod", "cstat")
        fit.method = "leven"
        self._assign(fit, "criticalDelta", CRITICAL_DELTA)
        fit.delta = PARAMETER_STEP
        fit.query = "no"
        fit.renorm("prefit")

    @staticmethod
    def _assign(owner: Any, name: str, value: Any) -> None:
        """Make one setting and read it back; XSPEC adds an explanation to a name."""
        setattr(owner, name, value)
        now = getattr(owner, name)
        taken = now.startswith(value) if isinstance(value, str) else math.isclose(now, value)
        check(taken, f"{name} is {now} after setting it to {value}")

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
        """Return the expected ``counts`` per channel, all sources together."""
        self._fake_sources(request["models"])
        return {"counts": self._expected()}

    def fake(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return Poisson ``counts`` of all sources together, drawn with a ``seed``."""
        models, before, self.faked = request["models"], self.faked, None
        if before is None:
            self._fake_sources(models, all_at_once=len(models) == 1)
        else:
            # Responses are in place, and so are the models that stay as they are.
            for source, model in enumerate(models):
                if model != before[source]:
                    self._define(source, model)
        self.xspec.Xset.seed = request["seed"]
        # With responses and models of all sources in place, this one adds them.
        spectrum = self._fakeit()
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
        self.faked = models
        return {"counts": counts}

    def fit(self, request: dict[str, Any]) -> dict[str, Any]:
        """Fit the models to the grouped spectrum in the file ``pha``.

        Parameters
        ----------
        request : dict
            Besides these: ``energies`` (keV), ``bins`` (how many the selection
            leaves), ``iterations`` (most, of one `perform`), ``strategy``,
            ``starts``, a list with the values of the free parameters, and
            ``delta``, the rise of C at the ends of intervals, None for none.

        Returns
        -------
        dict
            ``cstat``, ``dof``, ``values`` and ``sigma`` (a list for each source),
            ``covariance`` (lower triangle by rows), ``gain``, by how much C has
            fallen the last time that the fit was repeated, ``cstats`` (where
            each start ended), and ``intervals`` of the free parameters: (low,
            high, status) as XSPEC's `error` gives them, none without `delta`.
        """
        self._load(request)
        self._assign(self.xspec.Fit, "nIterations", request["iterations"])
        search = {
            "plain": self._plain,
            "thorough": lambda: self._settle(self._frozen_first),
            "seeded": lambda: self._settle(self._perform),
        }[request["strategy"]]
        ends = self._ends(request["starts"], search)
        best = min(ends, key=lambda end: end["cstat"])
        check(
            best["dof"] == request["bins"] - len(self.free),
            f"XSPEC counts {best['dof']} degrees of freedom, expected {request['bins']} bins less "
            f"{len(self.free)} free parameters",
        )
        intervals: list[list[Any]] = []
        if request["delta"] is not None and math.isfinite(best["gain"]):
            best, intervals = self._with_intervals(best, request["delta"])
        return {**best, "intervals": intervals, "cstats": [end["cstat"] for end in ends]}

    # --- sources ---------------------------------------------------------------------------

    def _clear(self) -> None:
        self.xspec.AllData.clear()
        self.xspec.AllModels.clear()
        check(self.xspec.AllData.nSpectra == 0, "spectra stayed after `data none`")
        self.free, self.faked = [], None

    def _fake_sources(self, models: list[dict[str, Any]], all_at_once: bool = False) -> None:
        """Set all sources up around a fake spectrum; a single one needs none before its own."""
        self._clear()
        self._define(0, models[0])
        if all_at_once:
            return
        self._respond(self._fakeit(), range(1, len(self.names)))
        for source in range(1, len(self.names)):
            self._define(source, models[source])

    def _load(self, request: dict[str, Any]) -> None:
        """Load a grouped spectrum with all its sources, and select energies."""
        self._clear()
        spectrum = self.xspec.Spectrum(request["pha"])
        data = self.xspec.AllData
        check(data.nSpectra == 1, f"{data.nSpectra} spectra are loaded, not 1")
        self._respond(spectrum, range(len(self.names)))
        for source, model in enumerate(request["models"]):
            self._define(source, model)
        low, high = request["energies"]
        spectrum.ignore(f"**-{float(low)!r} {float(high)!r}-**")
        check(
            len(spectrum.noticed) == request["bins"],
            f"XSPEC leaves {len(spectrum.noticed)} bins between {low} and {high} keV, expected "
            f"{request['bins']}",
        )

    def _fakeit(self) -> Any:
        """Fake one spectrum in memory and return it."""
        data = self.xspec.AllData
        settings = self.xspec.FakeitSettings(
            response=self.setup["sources"][0]["rmf"],
            arf=self.setup["sources"][0]["arf"] or "",
            exposure=repr(self.setup["exposure"]),
            fileName="fake.pha",
        )
        data.fakeit(1, settings, noWrite=True)
        check(data.nSpectra == 1, f"{data.nSpectra} spectra are loaded after fakeit, not 1")
        spectrum = data(1)
        exposure, channels = self.setup["exposure"], self.setup["channels"]
        check(
            same(spectrum.exposure, exposure),
            f"the fake spectrum has an exposure of {spectrum.exposure} s, not {exposure} s",
        )
        check(
            len(spectrum.values) == channels,
            f"the fake spectrum has {len(spectrum.values)} channels, not {channels}",
        )
        return spectrum

    def _respond(self, spectrum: Any, sources: range) -> None:
        """Give a spectrum the responses of some sources."""
        for source in sources:
            files = self.setup["sources"][source]
            spectrum.multiresponse[source] = files["rmf"]
            if files["arf"] is not None:
                spectrum.multiresponse[source].arf = files["arf"]
            for kind in ("rmf", "arf"):
                if files[kind] is not None:
                    path = getattr(spectrum.multiresponse[source], kind)
                    check(
                        os.path.basename(path).startswith(files[kind]),
                        f"the {kind} of source {source + 1} is {path}, not {files[kind]}",
                    )

    def _define(self, source: int, model: dict[str, Any]) -> None:
        """Define the model of one source and set its parameters."""
        expression, parameters = model["expression"], model["parameters"]
        named = (self.names[source], source + 1) if source else ()
        try:
            made = self.xspec.Model(expression, *named)
        except Exception as error:
            raise Unable(
                f"XSPEC {self.versions()['xspec']} cannot define {expression} ({error}): it may be "
                "too old for one of these models; use a newer XSPEC, or other models"
            ) from None
        names = [
            f"{component}.{parameter}"
            for component in made.componentNames
            for parameter in getattr(made, component).parameterNames
        ]
        check(
            names == list(parameters),
            f"XSPEC names the parameters of {expression} {', '.join(names)}; expected "
            f"{', '.join(parameters)}",
        )
        set_parameters(made, parameters)
        settings = enumerate(parameters.values(), start=1)
        self.free += [(source, number) for number, s in settings if isinstance(s, list)]

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

    def _ends(
        self, starts: list[list[float]], search: Callable[[], dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Fit from every starting point; return the fits that did not fail, at least one."""
        ends: list[dict[str, Any]] = []
        problem: Exception = Unexpected("no starting points were given")
        for start in starts:
            try:
                self._go_to(start)
                ends.append(search())
            except Exception as error:
                problem = error
        if not ends:
            raise problem
        return ends

    def _go_to(self, values: list[float]) -> None:
        """Set the free parameters."""
        for source, model in enumerate(self._models()):
            own = {i: value for (of, i), value in zip(self.free, values) if of == source}
            if own:
                model.setPars(own)
            for number, value in own.items():
                parameter = model(number)
                check(
                    same(parameter.values[0], value),
                    f"{parameter.name} is {parameter.values[0]} after setting it to {value!r}",
                )

    def _plain(self) -> dict[str, Any]:
        """Fit once. What a second fit from there would gain is told, and not taken."""
        end = self._perform()
        try:
            return {**end, "gain": end["cstat"] - self._perform()["cstat"]}
        except Exception:
            return {**end, "gain": math.inf}

    def _settle(self, fit: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Repeat a fit from where the parameters are until it gains nothing to speak of.

        Where the first one ends above its start, the start is kept, without errors; its gain
        tells that XSPEC has not converged there.
        """
        end = start = {"cstat": self.xspec.Fit.statistic, "values": self._values()}
        gain = math.inf
        for _ in range(MOST_ROUNDS):
            try:
                again = fit()
            except Exception:
                if end is start:
                    raise
                return {**end, "gain": math.inf}
            gain = end["cstat"] - again["cstat"]
            if end is start and gain < -CRITICAL_DELTA:
                unknown = [[-1.0] * len(source) for source in again["sigma"]]
                return {**again, **start, "sigma": unknown, "covariance": [], "gain": gain}
            if end is start or gain > 0:
                end = again
            if gain < CRITICAL_DELTA:
                break
        return {**end, "gain": gain}

    def _frozen_first(self) -> dict[str, Any]:
        """Fit with the factors of the backgrounds frozen where they are, then with them free.

        A step of theirs that leads beyond a limit goes a power of 1/2 of it, so
        that they creep up to the limit, all others crawl, and XSPEC takes a fit
        for converged that is far from the minimum. With the source fitted
        first, their steps are short.
        """
        factors = [(source, number) for source, number in self.free if source > 0]
        if factors:
            self._freeze(factors, True)
            try:
                self._perform()
            finally:
                self._freeze(factors, False)
        return self._perform()

    def _freeze(self, factors: list[tuple[int, int]], frozen: bool) -> None:
        """Freeze or thaw parameters; a negative step freezes."""
        for source, number in factors:
            model = self._models()[source]
            value, step, *limits = model(number).values
            step = (abs(step) or PARAMETER_STEP) * (-1 if frozen else 1)
            model.setPars({number: ",".join(map(repr, map(float, (value, step, *limits))))})
            parameter = model(number)
            check(
                bool(parameter.frozen) == frozen and all(map(same, parameter.values[2:], limits)),
                f"{parameter.name} of {self.names[source]} has the values {parameter.values} after "
                f"{'freezing' if frozen else 'thawing'} it within {limits}",
            )

    def _perform(self) -> dict[str, Any]:
        """Fit from where the parameters are."""
        fit = self.xspec.Fit
        fit.perform()
        check(math.isfinite(fit.statistic), f"the fit ended with C = {fit.statistic}")
        return {
            "cstat": fit.statistic,
            "dof": fit.dof,
            "values": self._values(),
            "sigma": [[p.sigma for p in source] for source in self._parameters()],
            "covariance": list(fit.covariance),
        }

    def _parameters(self) -> list[list[Any]]:
        """Return the parameters of each source."""
        return [[m(number) for number in range(1, m.nParameters + 1)] for m in self._models()]

    def _values(self) -> list[list[float]]:
        return [[parameter.values[0] for parameter in source] for source in self._parameters()]

    def _with_intervals(
        self, best: dict[str, Any], delta: float
    ) -> tuple[dict[str, Any], list[list[Any]]]:
        """Return a fit, and the intervals of the free parameters around it.

        Where `error` meets a lower C it moves there: then a fit from there takes
        the place of the old one, and all intervals are searched anew. What goes
        wrong costs the intervals, not the fit.
        """
        result = best
        try:
            self._go_to([best["values"][source][i - 1] for source, i in self.free])
            for _ in range(MOST_MOVES):
                result = self._settle(self._perform)
                if result["gain"] < -CRITICAL_DELTA:  # XSPEC does not stay at this minimum
                    return result, []
                intervals = []
                for source, number in self.free:
                    intervals.append(self._interval(self.names[source], number, delta))
                    if self.xspec.Fit.statistic < result["cstat"] - CRITICAL_DELTA:
                        break
                else:
                    return result, intervals
            result = self._settle(self._perform)
        except Exception as error:
            sys.stderr.write(f"no intervals: {explain(error)}\n")
        return result, []

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


# --- parameters ------------------------------------------------------------------------------


def set_parameters(model: Any, settings: dict[str, Any]) -> None:
    """Set all parameters of a model; check values, limits, links and what is frozen."""
    texts = {i: as_text(model(i), setting) for i, setting in enumerate(settings.values(), 1)}
    model.setPars(texts)
    for number, (name, setting) in enumerate(settings.items(), 1):
        parameter, then = model(number), f"after setting {texts[number]}"
        if isinstance(setting, str):
            check(bool(parameter.link), f"{name} is not linked {then}")
            continue
        value, *limits = setting if isinstance(setting, list) else [setting]
        now = list(parameter.values)
        check(same(now[0], value), f"{name} is {now[0]} {then}")
        if limits:
            low, high = limits
            check(
                all(map(same, now[2:6], (low, low, high, high))),
                f"{name} has the limits {now[2:6]} {then}",
            )
        check(
            len(now) == 1 or bool(parameter.frozen) != bool(limits),
            f"{name} is {'' if parameter.frozen else 'not '}frozen {then}",
        )


def as_text(parameter: Any, setting: Any) -> str:
    """Return what sets a parameter: value, step and hard and soft limits, or link."""
    if isinstance(setting, str):
        return setting
    if isinstance(setting, list):
        value, low, high = setting
        step = abs(parameter.values[1]) or PARAMETER_STEP
        return f"{value!r},{step!r},{low!r},{low!r},{high!r},{high!r}"
    if len(parameter.values) == 1:  # a switch of the model, not a parameter to fit
        return f"{setting:g}"
    return f"{setting!r},-1"


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
    except Unable as error:
        return session, {"unable": explain(error)}
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
