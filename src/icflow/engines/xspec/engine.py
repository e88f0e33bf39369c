"""The xspec engine: PyXspec fakes, folds and fits; this side says what, and keeps the books.

XSPEC runs in a process of its own (`icflow.engines.xspec.worker`), started by
the Python that runs icflow or, if ``ICFLOW_XSPEC_PYTHON`` names one, by another
one that has PyXspec. If it crashes on a spectrum, a new process takes that
spectrum up once more; a spectrum that kills XSPEC twice is flagged.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import site
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
from scipy.sparse import eye_array

from icflow import heasoft
from icflow.config import AtomicData, FitControl, FitModel, Free, Link
from icflow.engines.base import BACKGROUND, FitResult, Module, failed_fit
from icflow.engines.xspec import worker as pyxspec_worker
from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent, read_background
from icflow.models.expression import Expression, parse
from icflow.models.library import Parameter, is_heasoft
from icflow.models.scenario import Setting, background_factors, complete, draw, generator, resolve
from icflow.ogip.grouping import group_min, grouped_selection, noticed_channels
from icflow.ogip.response import Rmf, check_same_grid, read_arf, read_rmf, write_arf, write_rmf
from icflow.ogip.spectrum import Spectrum, write_spectrum
from icflow.typing import DrawnCounts, Floats

PYTHON = "ICFLOW_XSPEC_PYTHON"
NO_XSPEC = (
    "engine: xspec needs XSPEC with PyXspec, and {python} cannot use it ({reason}); run in the "
    "Apptainer image built from containers/heasoft.def (snakemake --use-singularity), install "
    "heasoft from HEASARC's conda channel (snakemake --use-conda), or set HEADAS to a local "
    "HEASoft and source its headas-init.sh"
)
LIMIT = 600  # seconds that XSPEC may take for one fit or fake: far beyond the longest
START = 600  # seconds that it may take to start, from a slow disk
SEARCH = 20  # fits that the search for an interval takes, a generous guess
PATIENCE = 20  # seconds for a process to end that has closed its pipes
AGREE = 0.01  # in C: starts that end this close found the same minimum
CONVERGED = 0.01  # in C: what a repeated fit may still gain, XSPEC's critical delta
NINE_LETTERS = re.compile("[TF]{9}")  # the status of an error
EDGE = 1e-5  # of the range of a parameter: this close to a limit is on it
NORM_START = 1e-3  # of its upper limit: where a norm starts before XSPEC renormalises
SEED_LIMIT = 2**31 - 1


class XspecCrash(Exception):
    """The process of XSPEC ended before it replied."""


class XspecError(IcflowError):
    """XSPEC could not do what it was asked for, and lives."""


class NoXspecError(IcflowError):
    """XSPEC does not start: no fault of a spectrum."""


class Worker:
    """A process of XSPEC, started when it is needed and again after a crash.

    Parameters
    ----------
    folder : Path
        Its working and home directory, which holds the files that it reads.
    setup : dict
        The first request to every process.
    """

    def __init__(self, folder: Path, setup: Mapping[str, Any]) -> None:
        self.folder, self.setup = folder, setup
        name = os.environ.get(PYTHON) or sys.executable
        # Absolute, because the process starts in another folder.
        self.python = os.path.abspath(shutil.which(name) or name)
        self.process: subprocess.Popen[str] | None = None
        self.versions: dict[str, str] = {}

    def ask(self, request: Mapping[str, Any], fits: int = 1) -> dict[str, Any]:
        """Return the reply to a request, which takes no longer than so many fits.

        Raises
        ------
        XspecCrash
            If the process ends instead; the next request starts a new one.
        XspecError
            If XSPEC refuses, with what it said.
        NoXspecError
            If there is no XSPEC.
        """
        if self.process is None:
            self.start()
        reply = self._exchange(request, fits * LIMIT)
        if "error" in reply:
            raise XspecError(f"XSPEC: {reply['error']}")
        return reply

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def start(self) -> None:
        """Start a process and set it up; a `NoXspecError` says how to get XSPEC."""
        try:
            self.process = subprocess.Popen(  # noqa: S603 - a fixed command
                [self.python, pyxspec_worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self.folder,
                env=self._environment(),
                encoding="utf-8",
            )
        except OSError as error:
            raise self._missing(error.strerror or str(error)) from None
        try:
            reply = self._exchange({"do": "setup", **self.setup}, START)
        except XspecCrash as crash:
            raise self._missing(f"{crash} when it started") from None
        if "missing" in reply:
            raise self._missing(reply["missing"])
        if "error" in reply:
            self.stop()
            raise NoXspecError(f"XSPEC: {reply['error']}")
        self.versions = reply

    def _missing(self, reason: str) -> NoXspecError:
        self.stop()
        reason = f"{reason}; {_headas()}"
        return NoXspecError(NO_XSPEC.format(python=self.python, reason=reason))

    def _environment(self) -> dict[str, str]:
        """Return an environment in which XSPEC asks nothing and reads no settings of the user."""
        environment = heasoft.environment(self.folder)
        # Packages that the user installed stay where they are.
        environment.setdefault("PYTHONUSERBASE", site.getuserbase())
        if not is_heasoft(environment.get("HEADAS", "")):
            environment.pop("HEADAS", None)
        return environment

    def _exchange(self, request: Mapping[str, Any], limit: float) -> dict[str, Any]:
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        timer = Timer(limit, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            reply = json.loads(line) if line.endswith("\n") else None
        except (OSError, ValueError):
            reply = None
        finally:
            timer.cancel()
        if not isinstance(reply, dict):
            raise XspecCrash(f"XSPEC ended with status {self._ended(process)}")
        return reply

    def _ended(self, process: subprocess.Popen[str]) -> int:
        """Return the status of a process that has stopped to answer."""
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        with suppress(OSError):  # what it did not read any more
            process.communicate()
        self.process = None
        return status


def _headas() -> str:
    headas = os.environ.get("HEADAS", "")
    if not is_heasoft(headas):
        return "HEADAS is not set"
    known = Path(headas, "headas-init.sh").is_file()
    return f"HEADAS is {headas}" if known else f"HEADAS is {headas}, where no HEASoft is"


@dataclass(frozen=True)
class _Model:
    """A model to fit, in XSPEC's order of parameters.

    Attributes
    ----------
    settings : dict
        What each parameter of the source does.
    free : tuple of str
        Free parameters of the source.
    backgrounds : tuple of str
        Names of the background factors.
    bounds : dict
        Limits of every free parameter and factor.
    """

    expression: Expression
    settings: dict[str, Setting]
    free: tuple[str, ...]
    backgrounds: tuple[str, ...]
    bounds: dict[str, tuple[float, float]]

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.settings, *self.backgrounds)


class PyXspecEngine:
    """Predict, fake and fit spectra of one instrument with XSPEC.

    Parameters
    ----------
    modules : sequence of Module
        Response files, exposure and background file.
    atomic_data : AtomicData
        Abundances, cross sections and AtomDB tables; if the folder holds none,
        those of the HEASoft are taken.

    Raises
    ------
    IcflowError
        If there is no XSPEC, or a file is missing or not what it should be.
    """

    def __init__(self, modules: Sequence[Module], atomic_data: AtomicData) -> None:
        (instrument,) = modules
        self.atomic_data = atomic_data
        self.exposure = instrument.exposure
        self.background_scatter = instrument.background_scatter
        self.rmf = read_rmf(instrument.rmf)
        if instrument.arf is not None:
            check_same_grid(self.rmf, read_arf(instrument.arf))
        self.components = read_background(instrument.background) if instrument.background else ()
        # Short names inside, because XSPEC splits paths at blanks.
        self.folder = Path(tempfile.mkdtemp(prefix="icflow-xspec-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.worker = Worker(self.folder, self._setup(instrument))
        weakref.finalize(self, self.worker.stop)
        self.worker.start()

    def _setup(self, instrument: Module) -> dict[str, Any]:
        """Put the files that XSPEC reads into the folder; return the first request."""
        self._link(instrument.rmf, "source.rmf")
        if instrument.arf is not None:
            self._link(instrument.arf, "source.arf")
        return {
            "rmf": "source.rmf",
            "arf": None if instrument.arf is None else "source.arf",
            "exposure": self.exposure,
            "channels": len(self.rmf.channel),
            "abundances": self.atomic_data.abundances,
            "cross_sections": self.atomic_data.cross_sections,
            "apec_root": self._apec_root(),
            "backgrounds": [self._background(component) for component in self.components],
        }

    def _link(self, path: str | Path, name: str) -> None:
        (self.folder / name).symlink_to(Path(path).resolve())

    def _apec_root(self) -> str:
        """Return the stem of the AtomDB tables, or their version if HEASoft is to find them."""
        version = self.atomic_data.atomdb
        names = [f"apec_v{version}_{part}.fits" for part in ("coco", "line")]
        paths = [Path(self.atomic_data.folder) / name for name in names]
        if not all(path.is_file() for path in paths):
            return version
        for path, name in zip(paths, names, strict=True):
            self._link(path, name)
        return str(self.folder / f"apec_v{version}")

    def _background(self, component: BackgroundComponent) -> dict[str, Any]:
        """Write the response of a background component; return its part of the setup."""
        own, rmf, arf = self.rmf, "source.rmf", None
        if component.redistribution == "identity":
            rmf = "identity.rmf"
            write_rmf(self.folder / rmf, identity(self.rmf, component.name))
        elif isinstance(component.redistribution, Path):
            own, rmf = read_rmf(component.redistribution), f"{component.name}.rmf"
            self._link(component.redistribution, rmf)
        if component.area is not None:
            arf = f"{component.name}.arf"
            area = component.effective_area(own.energies)
            write_arf(self.folder / arf, own.energy_lo, own.energy_hi, area)
        expression = parse(f"constant*({component.expression.text})")
        # The names of components may count from 1 further on; values keep their order.
        values = [1.0, *component.values.values()]
        parameters = [
            {"name": name, "value": value}
            for name, value in zip(expression.parameters, values, strict=True)
        ]
        model = {"expression": expression.text, "parameters": parameters}
        return {"model": model, "rmf": rmf, "arf": arf}

    def versions(self) -> dict[str, str]:
        """Return what the numbers depend on."""
        return {
            "ENGINE": "xspec",
            "XSPECVER": self.worker.versions["xspec"],
            "ATOMDB": self.atomic_data.atomdb,
            "ABUND": self.atomic_data.abundances,
            "XSECT": self.atomic_data.cross_sections,
        }

    def _ask(self, request: Mapping[str, Any], fits: int = 1) -> dict[str, Any]:
        """Ask XSPEC, a new process if the first one crashes."""
        try:
            return self.worker.ask(request, fits)
        except XspecCrash:
            return self.worker.ask(request, fits)

    # --- predicting and faking ------------------------------------------------------------

    def predict(self, expression: str, parameters: Mapping[str, Setting]) -> Floats:
        """Return expected counts per channel, background included."""
        parsed = parse(expression)
        values = resolve(complete(parsed, parameters, "parameters"), {})
        reply = self._counts({"do": "predict", "model": _fixed(parsed, values)}, expression)
        return np.array(reply, dtype=np.float64)

    def fake(
        self,
        expression: str,
        parameters: Mapping[str, Setting],
        seed: int,
        dataset: str,
        indices: Sequence[int],
    ) -> tuple[DrawnCounts, dict[str, Floats]]:
        """Draw parameters, and let XSPEC draw Poisson counts, of the spectra with these indices.

        XSPEC's generator is seeded for every spectrum by seed, dataset and
        index. Its counts differ from those of the embedded engine, the
        parameters do not.

        Returns
        -------
        counts : ndarray of int32, shape (n_spectra, n_channels)
        truth : dict
            The true value of every parameter, each of shape (n_spectra,), and
            of every background factor if they scatter.
        """
        parsed = parse(expression)
        settings = complete(parsed, parameters, "parameters")
        varying = [BACKGROUND + component.name for component in self.components]
        if self.background_scatter == 0:
            varying = []
        counts = np.empty((len(indices), len(self.rmf.channel)), dtype=np.int32)
        truth = {name: np.empty(len(indices)) for name in (*settings, *varying)}
        for row, index in enumerate(indices):
            values = draw(settings, seed, dataset, index)
            factors = background_factors(varying, self.background_scatter, seed, dataset, index)
            for name, value in (values | factors).items():
                truth[name][row] = value
            number = generator(seed, dataset, index, "xspec").integers(1, SEED_LIMIT)
            request: dict[str, Any] = {
                "do": "fake", "model": _fixed(parsed, values), "seed": int(number)
            }  # fmt: skip
            if factors:
                request["factors"] = list(factors.values())
            counts[row] = self._counts(request, f"spectrum {index} of {dataset}")
        return counts, truth

    def _counts(self, request: Mapping[str, Any], what: str) -> list[float]:
        try:
            counts: list[float] = self._ask(request)["counts"]
        except XspecCrash as crash:
            raise IcflowError(
                f"{what}: {crash}, twice; its model may be outside of what XSPEC can compute"
            ) from None
        except XspecError as error:
            raise IcflowError(f"{what}: {error}") from None
        return counts

    # --- fits -------------------------------------------------------------------------------

    def fit(
        self,
        model: FitModel,
        control: FitControl,
        counts: DrawnCounts,
        truth: Mapping[str, Floats],
        at_truth: Sequence[str],
    ) -> Iterator[FitResult]:
        """Fit spectra one after the other; a bad one gives a flagged result.

        The norm of each background is a `constant` within its limits. Of
        several starting points the first is generic, or the `start` that the
        model gives; the others are drawn, the same for every spectrum. One
        starting point is one plain XSPEC fit.
        """
        # Energies that select nothing are an error of the configuration, not of every spectrum.
        noticed_channels(self.rmf.e_min, self.rmf.e_max, *control.energies)
        plan = self._plan(model, control, at_truth)
        starts = [_start(plan, number) for number in range(control.starts)]
        for row in range(len(counts)):
            fixed = {name: float(truth[name][row]) for name in at_truth}
            try:
                yield self._fit_one(plan, control, counts[row], fixed, starts)
            except XspecCrash as crash:
                yield _failed(plan, f"{crash}, twice on this spectrum")
            except NoXspecError:
                # A crash, and no way to start again: the rest is left for another try.
                raise
            except IcflowError as error:
                yield _failed(plan, str(error))

    def _plan(self, model: FitModel, control: FitControl, at_truth: Sequence[str]) -> _Model:
        expression = parse(model.expression)
        settings = complete(expression, model.parameters, "parameters")
        limits = {
            name: (setting.free[0], setting.free[1])
            for name, setting in settings.items()
            if isinstance(setting, Free) and name not in at_truth
        }
        backgrounds = tuple(BACKGROUND + component.name for component in self.components)
        width = control.background_range
        factors = dict.fromkeys(backgrounds, (1 - width, 1 + width)) if width > 0 else {}
        return _Model(expression, settings, tuple(limits), backgrounds, {**limits, **factors})

    def _fit_one(
        self,
        plan: _Model,
        control: FitControl,
        counts: DrawnCounts,
        fixed: Mapping[str, float],
        starts: Sequence[Mapping[str, float]],
    ) -> FitResult:
        rmf = self.rmf
        e_min, e_max, (lowest, highest) = rmf.e_min, rmf.e_max, control.energies
        if not np.any(counts[noticed_channels(e_min, e_max, lowest, highest)] > 0):
            raise IcflowError("the spectrum has no counts in the energy range of the fit")
        first, _ = grouped_selection(counts, e_min, e_max, lowest, highest, control.group_min)
        self._write_spectrum(counts, control.group_min)
        low, high = 1 - control.background_range, 1 + control.background_range
        bounded = control.background_range > 0 and bool(plan.backgrounds)
        request = {
            "do": "fit",
            "pha": "spectrum.pha",
            "model": _fitted(plan, fixed, starts[0]),
            "factors": {"value": 1.0, "low": low, "high": high} if bounded else {"value": 1.0},
            "energies": [lowest, highest],
            "bins": len(first),
            "iterations": control.max_iterations,
            "starts": [[start[name] for name in plan.free] for start in starts],
            "delta": control.delta if control.errors == "profile" else None,
        }
        fits = len(starts) + 1
        if control.errors == "profile":
            fits += SEARCH * len(plan.bounds)
        return _result(plan, self._ask(request, fits), len(first), len(starts))

    def _write_spectrum(self, counts: DrawnCounts, minimum: int) -> None:
        grouping, quality = group_min(counts, minimum)
        spectrum = Spectrum(
            channel=self.rmf.channel,
            counts=counts.astype(np.int64),
            exposure=self.exposure,
            grouping=grouping,
            quality=quality,
            telescope=self.rmf.telescope,
            instrument=self.rmf.instrument,
        )
        write_spectrum(self.folder / "spectrum.pha", spectrum)


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
    return Rmf(
        rmf.energy_lo,
        rmf.energy_hi,
        eye_array(n, format="csr"),
        rmf.channel,
        rmf.e_min,
        rmf.e_max,
        telescope=rmf.telescope,
        instrument=rmf.instrument,
    )


# --- requests and replies ----------------------------------------------------------------------


def _fixed(expression: Expression, values: Mapping[str, float]) -> dict[str, Any]:
    """Return a model with all parameters fixed, as the worker takes it."""
    parameters = [{"name": name, "value": value} for name, value in values.items()]
    return {"expression": expression.text, "parameters": parameters}


def _fitted(plan: _Model, fixed: Mapping[str, float], start: Mapping[str, float]) -> dict[str, Any]:
    """Return a model to fit, as the worker takes it."""
    numbers = {name: number for number, name in enumerate(plan.settings, start=1)}
    parameters: list[dict[str, Any]] = []
    for name, setting in plan.settings.items():
        entry: dict[str, Any] = {"name": name}
        if name in fixed:
            entry["value"] = fixed[name]
        elif isinstance(setting, Link):
            entry["link"] = numbers[setting.link]
        elif name in plan.bounds:
            low, high = plan.bounds[name]
            entry.update(value=start[name], low=low, high=high)
        else:
            assert isinstance(setting, (int, float))
            entry["value"] = float(setting)
        parameters.append(entry)
    return {"expression": plan.expression.text, "parameters": parameters}


def _result(plan: _Model, reply: Mapping[str, Any], bins: int, starts: int) -> FitResult:
    """Turn the reply to a fit into a result.

    XSPEC tells no number of iterations (0 here); `gradient` is what a second
    fit from the minimum gained.
    """
    values = dict(zip(plan.names, reply["values"], strict=True))
    sigma = dict(zip(plan.names, reply["sigma"], strict=True))
    errors = {name: _error(plan, name, values, sigma) for name in plan.names}
    cstats = reply["cstats"]
    free = tuple(name for name in plan.names if name in plan.bounds)
    return FitResult(
        cstat=reply["cstat"],
        dof=reply["dof"],
        bins=bins,
        converged=abs(reply["gain"]) < CONVERGED,
        starts=starts,
        agreeing=sum(cstat < min(cstats) + AGREE for cstat in cstats),
        iterations=0,
        gradient=reply["gain"],
        values=values,
        errors=errors,
        free=free,
        at_bound=tuple(name for name in free if _on_limit(plan, name, values[name])),
        covariance=_covariance(reply["covariance"], [sigma[name] for name in free]),
        intervals={
            name: _interval(plan.bounds[name], *found)
            for name, found in zip(free, reply["intervals"], strict=False)  # none without delta
        },
    )


def _interval(
    limits: tuple[float, float], low: float, high: float, status: str
) -> tuple[float, float]:
    """Return the ends of an interval, NaN for one that XSPEC did not find.

    The nine letters of the status, T for true: a new minimum, C that does not
    rise all the way, another problem, the hard lower and upper limit reached,
    a parameter that is frozen, a search that failed downwards, upwards, and a
    fit too bad. An end that lies beyond a hard limit is the limit.
    """
    if not NINE_LETTERS.fullmatch(status):
        return math.nan, math.nan
    new, uneven, problem, at_low, at_high, frozen, no_low, no_high, bad = (c == "T" for c in status)
    if new or uneven or problem or frozen or bad:
        no_low = no_high = True
    lower = limits[0] if at_low else math.nan if no_low else low
    upper = limits[1] if at_high else math.nan if no_high else high
    return lower, upper


def _on_limit(plan: _Model, name: str, value: float) -> bool:
    low, high = plan.bounds[name]
    return min(value - low, high - value) <= EDGE * (high - low)


def _error(
    plan: _Model, name: str, values: Mapping[str, float], sigma: Mapping[str, float]
) -> float:
    """Return the error of a parameter: that of its link, 0 if fixed, NaN at a limit."""
    setting = plan.settings.get(name)
    if isinstance(setting, Link):
        name = setting.link
    if name not in plan.bounds:
        return 0.0
    # XSPEC gives -1 to a parameter that ended on a limit.
    if _on_limit(plan, name, values[name]) or not sigma[name] > 0:
        return float("nan")
    return sigma[name]


def _covariance(triangle: Sequence[float], sigma: Sequence[float]) -> Floats:
    """Return the covariance of the free parameters, NaN for those that XSPEC left out.

    XSPEC gives the lower triangle, without parameters on a limit. Its order is
    that of sources and parameters; where the diagonal says otherwise, all is NaN.
    """
    known = np.flatnonzero(np.array(sigma) > 0)
    matrix = np.full((len(sigma), len(sigma)), np.nan)
    rows, columns = np.tril_indices(len(known))
    if len(triangle) != len(rows):
        return matrix
    found = np.empty((len(known), len(known)))
    found[rows, columns] = found[columns, rows] = triangle
    if np.allclose(np.diag(found), np.array(sigma)[known] ** 2, rtol=1e-3, atol=0):
        matrix[np.ix_(known, known)] = found
    return matrix


def _failed(plan: _Model, reason: str) -> FitResult:
    fixed = {name: _is_fixed(plan, name) for name in plan.names}
    return failed_fit(fixed, [name for name in plan.names if name in plan.bounds], reason)


def _is_fixed(plan: _Model, name: str) -> bool:
    setting = plan.settings.get(name)
    root = setting.link if isinstance(setting, Link) else name
    return root not in plan.bounds


# --- starting points ------------------------------------------------------------------------------


def _start(plan: _Model, number: int) -> dict[str, float]:
    """Return the free parameters of one starting point of the source.

    The first takes the values that the model gives, generic ones elsewhere;
    the others are drawn between the limits.
    """
    start = {}
    declared = plan.expression.parameters
    for name in plan.free:
        setting = plan.settings[name]
        assert isinstance(setting, Free)
        if number > 0:
            random = generator(0, plan.expression.text, number, f"start/{name}").random()
            start[name] = _drawn(declared[name], plan.bounds[name], random)
        elif setting.start is not None:
            start[name] = setting.start
        else:
            start[name] = _generic(declared[name], plan.bounds[name], *_place(plan, name))
    return start


def _place(plan: _Model, name: str) -> tuple[int, int]:
    """Return which of how many free parameters of the same model and name this one is."""
    models = {c.name: c.definition.name for c in plan.expression.components}

    def kind(other: str) -> tuple[str, str]:
        component, parameter = other.split(".", 1)
        return models[component], parameter

    alike = [other for other in plan.free if kind(other) == kind(name)]
    return alike.index(name), len(alike)


def _generic(declared: Parameter, bounds: tuple[float, float], position: int, number: int) -> float:
    """Return a value that a fit of any spectrum may start from.

    Norms start low, and XSPEC renormalises them together. Parameters with a
    positive lower limit, temperatures among them, divide their range evenly
    in the logarithm, so that two plasmas start at different temperatures.
    Others start at XSPEC's default if it is inside, a quarter up their range
    if it is below.
    """
    low, high = bounds
    if declared.name == "norm":
        return max(low, _norm(declared, high))
    share = (position + 1) / (number + 1)
    if low > 0:
        return float(low * (high / low) ** share)
    if number == 1 and low < declared.default < high:
        return declared.default
    if number == 1 and declared.default <= low:
        share = 0.25
    return low + share * (high - low)


def _norm(declared: Parameter, high: float) -> float:
    return min(declared.default, NORM_START * high)


def _drawn(declared: Parameter, bounds: tuple[float, float], random: float) -> float:
    """Return a value for a random number between 0 and 1."""
    low, high = bounds
    if declared.name == "norm":
        # A decade up and down: only ratios matter before XSPEC renormalises.
        return float(min(max(low, _norm(declared, high) * 10 ** (2 * random - 1)), high))
    if low > 0:
        return float(low * (high / low) ** random)
    return low + random * (high - low)
