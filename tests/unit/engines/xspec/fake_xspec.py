"""A stand-in for PyXspec: records every call, keeps XSPEC's state, computes next to nothing.

Tests copy it into a folder as ``xspec.py``. What is written to the file
``FAKE_XSPEC_CALLS`` is the script of the session. Spectra of the number of
counts in ``FAKE_XSPEC_KILLS`` kill the process when they are loaded, those in
``FAKE_XSPEC_MEMORY`` likewise, as a machine without memory would, those in
``FAKE_XSPEC_KILLS_PARENT`` the one that started it, and those in
``FAKE_XSPEC_FAILS`` fail to fit; with ``FAKE_XSPEC_ONCE`` (a file that does
not exist yet) the process dies once, with ``FAKE_XSPEC_HANGS`` (likewise) it
stops for ever at its sixth spectrum. ``FAKE_XSPEC_ERRORS`` is a JSON object of
what `error` does for a parameter: (low, high, status), ``"raise"``, or a number
by which it lowers C, once if positive, every time if negative. Upper limits of
kT are cut at ``FAKE_XSPEC_KT_BELOW``. ``FAKE_XSPEC_PERFORMS`` holds a word for
each `perform` of a process, the first ones: ``fit``, ``fail``, or ``rise`` for
one that ends above its start.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal

import numpy as np

NAMES = {
    "tbabs": ("TBabs", ["nH"]),
    "apec": ("apec", ["kT", "Abundanc", "Redshift", "norm"]),
    "powerlaw": ("powerlaw", ["PhoIndex", "norm"]),
    "bknpower": ("bknpower", ["PhoIndx1", "BreakE", "PhoIndx2", "norm"]),
    "lorentz": ("lorentz", ["LineE", "Width", "norm"]),
    "constant": ("constant", ["factor"]),
}
LOWEST = 100.0  # C at the minimum
CURVATURE, OF_FACTOR = 1000.0, 10.0  # of C, in units of the range of a parameter
NEAR = 0.1  # this close to the minimum no step leads beyond a limit
CRAWL, STOP = 0.8, 0.1  # what a fit leaves of the way to the minimum
PERFORMS = iter(os.environ.get("FAKE_XSPEC_PERFORMS", "").split())
LOWERED: set[str] = set()  # parameters whose `error` has lowered C

print("a banner that nobody can switch off")
# As soon as it is imported, XSPEC makes a folder in its home.
os.makedirs(os.path.join(os.environ["HOME"], ".xspec"), exist_ok=True)


def record(line: str) -> None:
    path = os.environ.get("FAKE_XSPEC_CALLS")
    if path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


KINDS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def read_fits(path: str, name: str) -> tuple[np.ndarray, dict[str, str]]:
    """Read a binary table of a FITS file, and its header; astropy takes longer than all tests."""
    with open(path, "rb") as file:
        while block := file.read(2880):
            header: dict[str, str] = {}
            while "END" not in header:
                for start in range(0, 2880, 80):
                    card = block[start : start + 80].decode("ascii")
                    header[card[:8].strip()] = card[10:].split("/")[0].strip(" '")
                block = b"" if "END" in header else file.read(2880)
            axes = [int(header[f"NAXIS{i + 1}"]) for i in range(int(header["NAXIS"]))]
            data = file.read(int(np.prod(axes)) if axes else 0)
            heap = int(header.get("PCOUNT", 0))
            file.seek(heap + -(len(data) + heap) % 2880, 1)
            if header.get("EXTNAME") == name:
                fields = range(1, int(header["TFIELDS"]) + 1)
                forms = [re.fullmatch(r"(\d*)(\w).*", header[f"TFORM{i}"]) for i in fields]
                kinds = [f"{form[1] or 1}{KINDS[form[2]]}" for form in forms]
                names = [header[f"TTYPE{i}"] for i in fields]
                return np.frombuffer(data, list(zip(names, kinds, strict=True))), header
    raise OSError(f"{path} has no table {name}")


class Settings:
    """Attributes whose changes are recorded."""

    def __init__(self, name: str, **values: object) -> None:
        object.__setattr__(self, "_name", name)
        for key, value in values.items():
            object.__setattr__(self, key, value)

    def __setattr__(self, key: str, value: object) -> None:
        record(f"{self._name}.{key} = {value!r}")
        object.__setattr__(self, key, value)


class XsetClass(Settings):
    modelStrings = ()
    version = ("2.1.5", os.environ.get("FAKE_XSPEC_VERSION", "12.99.9"))

    def addModelString(self, key: str, value: str) -> None:
        record(f"Xset.addModelString({key!r}, {value!r})")
        XsetClass.modelStrings = (*XsetClass.modelStrings, (key, value))


class Parameter:
    def __init__(self, name: str) -> None:
        self.name = name
        self.values = [1.0, 0.01, -1e9, -1e9, 1e9, 1e9]
        self.frozen = name in ("Abundanc", "Redshift")
        self.link = ""
        self.sigma = -1.0
        self.error = (0.0, 0.0, "FFFFFFFFF")

    def set(self, text: object) -> None:
        if str(text).startswith("="):
            self.link = str(text)
            return
        numbers = [float(word) for word in str(text).split(",")]
        self.values[0] = numbers[0]
        if len(numbers) > 1:
            self.frozen = numbers[1] < 0
            self.values[1] = numbers[1]
        self.values[2 : len(numbers)] = numbers[2:]
        highest = float(os.environ.get("FAKE_XSPEC_KT_BELOW", "inf"))
        if self.name == "kT":
            self.values[4:] = [min(value, highest) for value in self.values[4:]]


class Component:
    def __init__(self, parameters: list[str]) -> None:
        self.parameterNames = parameters
        for name in parameters:
            setattr(self, name, Parameter(name))


class Model:
    def __init__(self, expression: str, name: str = "", source: int = 1) -> None:
        arguments = [repr(expression), *([repr(name), repr(source)] if name else [])]
        record(f"Model({', '.join(arguments)})")
        if source > 1 and source - 1 not in AllData.spectrum.multiresponse.files:
            raise Exception("Model Command Error")
        self.name = name
        self.componentNames = []
        for position, word in enumerate(re.findall(r"[a-z]+", expression.lower()), start=1):
            if word not in NAMES:
                raise Exception("Model Command Error")
            component, parameters = NAMES[word]
            taken = component in self.componentNames
            label = f"{component}_{position}" if taken else component
            self.componentNames.append(label)
            setattr(self, label, Component(parameters))
        AllModels.models[name] = self

    @property
    def parameters(self) -> list[Parameter]:
        return [
            getattr(getattr(self, component), name)
            for component in self.componentNames
            for name in getattr(self, component).parameterNames
        ]

    @property
    def nParameters(self) -> int:
        return len(self.parameters)

    def __call__(self, number: int) -> Parameter:
        return self.parameters[number - 1]

    def setPars(self, texts: dict[int, object]) -> None:
        record(f"AllModels(1, {self.name!r}).setPars({texts!r})")
        for number, text in texts.items():
            self(number).set(text)
        for parameter in self.parameters:
            if parameter.link:
                parameter.values[0] = self(int(parameter.link[1:])).values[0]

    def values(self, spectrum: int) -> list[float]:
        return [0.0 if os.environ.get("FAKE_XSPEC_NO_TABLES") else 1.0] * 10

    def folded(self, spectrum: int) -> list[float]:
        rate = sum(p.values[0] for p in self.parameters if p.name == "norm")
        rate *= np.prod([p.values[0] for p in self.parameters if p.name == "factor"])
        return [float(rate)] * len(AllData.spectrum.noticed)


class AllModelsClass:
    def __init__(self) -> None:
        self.models: dict[str, Model] = {}

    def __call__(self, group: int, name: str = "") -> Model:
        return self.models[name]

    def clear(self) -> None:
        record("AllModels.clear()")
        self.models = {}


class Response:
    def __init__(self, source: int, rmf: str) -> None:
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "rmf", rmf)

    def __setattr__(self, key: str, value: str) -> None:
        record(f"AllData(1).multiresponse[{self.source}].{key} = {value!r}")
        assert os.path.isfile(value)
        object.__setattr__(self, key, value)


class Responses:
    def __init__(self) -> None:
        self.files: dict[int, Response] = {}

    def __setitem__(self, source: int, name: str) -> None:
        record(f"AllData(1).multiresponse[{source}] = {name!r}")
        assert os.path.isfile(name)
        self.files[source] = Response(source, name)

    def __getitem__(self, source: int) -> Response:
        return self.files[source]


class Spectrum:
    loaded = 0

    def __init__(self, name: str) -> None:
        record(f"Spectrum({name!r})")
        table, header = read_fits(name, "SPECTRUM")
        counts, grouping = table["COUNTS"].ravel(), table["GROUPING"].ravel()
        self.starts = np.flatnonzero(grouping != -1)
        self._fill(np.add.reduceat(counts, self.starts), float(header["EXPOSURE"]))
        self.multiresponse = Responses()
        AllData.spectrum = self
        total = str(counts.sum())
        once = os.environ.get("FAKE_XSPEC_ONCE")
        if once and not os.path.exists(once):
            open(once, "w").close()
            os.kill(os.getpid(), signal.SIGSEGV)
        if total in os.environ.get("FAKE_XSPEC_KILLS", "").split():
            os.kill(os.getpid(), signal.SIGSEGV)
        if total in os.environ.get("FAKE_XSPEC_MEMORY", "").split():
            os.kill(os.getpid(), signal.SIGKILL)
        if total in os.environ.get("FAKE_XSPEC_KILLS_PARENT", "").split():
            os.kill(os.getppid(), signal.SIGKILL)
        hangs = os.environ.get("FAKE_XSPEC_HANGS")
        Spectrum.loaded += 1
        if hangs and Spectrum.loaded == 6 and not os.path.exists(hangs):
            open(hangs, "w").close()
            signal.pause()
        FitClass.fails = total in os.environ.get("FAKE_XSPEC_FAILS", "").split()

    def _fill(self, counts: np.ndarray, exposure: float) -> None:
        self.exposure = exposure
        self.counts = counts
        self.noticed = list(range(1, len(counts) + 1))

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(self.counts[number - 1] / self.exposure for number in self.noticed)

    @property
    def rate(self) -> tuple[float, ...]:
        total = sum(self.values)
        return total, 0.0, total, sum(sum(m.folded(1)) for m in AllModels.models.values())

    @property
    def response(self) -> Response:
        return self.multiresponse[0]

    @response.setter
    def response(self, name: str) -> None:
        self.multiresponse[0] = name

    def ignore(self, text: str) -> None:
        record(f"AllData(1).ignore({text!r})")
        low, high = (float(word.strip("*-")) for word in text.split())
        bounds, _ = read_fits(self.response.rmf, "EBOUNDS")
        lowest, highest = bounds["E_MIN"][self.starts], bounds["E_MAX"][self._stops(bounds) - 1]
        keep = (lowest >= low - 1e-4) & (highest < high - 1e-4)
        self.noticed = [int(number) + 1 for number in np.flatnonzero(keep)]

    def _stops(self, bounds: np.ndarray) -> np.ndarray:
        return np.append(self.starts[1:], len(bounds))


class FakeitSettings(Settings):
    def __init__(self, **values: str) -> None:
        super().__init__("FakeitSettings", **values)
        self.__dict__["text"] = ", ".join(f"{k}={v!r}" for k, v in values.items())


class AllDataClass:
    def __init__(self) -> None:
        self.spectrum: Spectrum | None = None

    @property
    def nSpectra(self) -> int:
        return 0 if self.spectrum is None else 1

    def __call__(self, number: int) -> Spectrum:
        return self.spectrum

    def clear(self) -> None:
        record("AllData.clear()")
        self.spectrum = None

    def fakeit(self, number: int, settings: FakeitSettings, noWrite: bool) -> None:
        record(f"AllData.fakeit({number}, FakeitSettings({settings.text}), noWrite={noWrite})")
        assert noWrite
        channels = len(read_fits(settings.response, "EBOUNDS")[0])
        old = self.spectrum
        spectrum = Spectrum.__new__(Spectrum)
        spectrum.multiresponse = Responses() if old is None else old.multiresponse
        spectrum.starts = np.arange(channels)
        spectrum._fill(np.zeros(channels), float(settings.exposure))
        self.spectrum = spectrum
        dice = random.Random(Xset.seed)
        expected = spectrum.rate[3] * spectrum.exposure / channels
        counts = [round(dice.gauss(expected, expected**0.5)) for _ in range(channels)]
        if os.environ.get("FAKE_XSPEC_STALE"):
            counts = [2 * count for count in counts]
        spectrum._fill(np.array(counts), spectrum.exposure)


def span(parameter: Parameter) -> float:
    return parameter.values[5] - parameter.values[2]


def away(parameter: Parameter) -> float:
    """How far a parameter is from its target, as a part of its range."""
    low = parameter.values[2]
    return (parameter.values[0] - (low + 0.25 * span(parameter))) / span(parameter)


class FitClass(Settings):
    fails = False
    lowest = LOWEST

    def renorm(self, setting: str) -> None:
        record(f"Fit.renorm({setting!r})")

    def free(self) -> list[Parameter]:
        models = AllModels.models.values()
        return [p for m in models for p in m.parameters if not p.frozen and not p.link]

    @property
    def statistic(self) -> float:
        """C: the lowest, and a parabola around the target of each parameter."""
        rise = sum(
            (OF_FACTOR if p.name == "factor" else CURVATURE) * away(p) ** 2 for p in self.free()
        )
        return FitClass.lowest + rise

    def perform(self) -> None:
        """Go towards a quarter up the range of every parameter, and stop early, as XSPEC does.

        What a fit by XSPEC 12.9.1 was seen to do: with free factors of
        backgrounds, and a source far from its minimum, these creep up to their
        limits, all others crawl, and XSPEC calls that converged; else the fit
        ends close by, where a second one still gains.
        """
        record("Fit.perform()")
        if FitClass.fails:
            raise Exception("Error executing command: fit")
        word = next(PERFORMS, "fit")
        if word == "fail":
            raise Exception("Error executing command: fit")
        factors = [p for p in self.free() if p.name == "factor"]
        source = [p for p in self.free() if p.name != "factor"]
        creeping = factors and any(abs(away(p)) > NEAR for p in source)
        for parameter in self.free():
            if creeping and parameter in factors:
                parameter.values[0] += 0.5 * (parameter.values[5] - parameter.values[0])
            else:
                share = CRAWL if creeping else STOP
                parameter.values[0] -= (1 - share) * away(parameter) * span(parameter)
        for position, parameter in enumerate(self.free()):
            parameter.sigma = 0.1 * (position + 1)
        if word == "rise":
            self.free()[0].values[0] += 0.2 * span(self.free()[0])
        if os.environ.get("FAKE_XSPEC_PEGS"):
            self.free()[0].values[0] = self.free()[0].values[2]
            self.free()[0].sigma = -1.0

    def error(self, text: str) -> None:
        """Give an interval of one sigma times the root of the rise of C."""
        record(f"Fit.error({text!r})")
        *options, delta, label = text.split()
        assert options[0] == "stopat"
        assert "." in delta or "e" in delta, f"{delta} would be the number of a parameter"
        name, _, number = label.rpartition(":")
        parameter = AllModels(1, name)(int(number))
        assert parameter in self.free()
        what = json.loads(os.environ.get("FAKE_XSPEC_ERRORS", "{}")).get(label)
        if what == "raise":
            raise Exception("Error executing command: error")
        if isinstance(what, (int, float)) and (what < 0 or label not in LOWERED):
            LOWERED.add(label)
            FitClass.lowest -= abs(what)
        elif isinstance(what, list):
            parameter.error = tuple(what)
        else:
            width = parameter.sigma * float(delta) ** 0.5
            middle = parameter.values[0]
            parameter.error = (middle - width, middle + width, "FFFFFFFFF")

    @property
    def dof(self) -> int:
        return len(AllData.spectrum.noticed) - len(self.free())

    @property
    def covariance(self) -> tuple[float, ...]:
        sigma = [p.sigma for p in self.free() if p.sigma > 0]
        return tuple(
            sigma[i] * sigma[j] * (1.0 if i == j else 0.5)
            for i in range(len(sigma))
            for j in range(i + 1)
        )


Xset = XsetClass("Xset", abund="", xsect="", seed=0)
AllData = AllDataClass()
AllModels = AllModelsClass()
Fit = FitClass("Fit", statMethod="chi", criticalDelta=0.0, nIterations=10)
