"""XSPEC's compiled model functions, in this process.

The only module that touches the library. It is the one of the ``HEADAS`` of
the environment where that is set, and the one inside the wheel of
``xspectrampoline`` otherwise. The library is global, not thread-safe and
prints to standard output: it is loaded once, called from one thread, and its
chatter is sent to ``/dev/null``.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from icflow import heasoft
from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.models import atomdb, trial
from icflow.models.apart import Apart
from icflow.typing import AnyArray, Floats

ADDITIVE, MULTIPLICATIVE = "add", "mul"

NO_LIBRARY = (
    "XSPEC's model functions cannot be loaded ({reason}): install them with "
    "`pip install xspectrampoline==0.1.5` (Linux x86-64, macOS arm64), or point HEADAS to a "
    "working HEASoft, or unset a HEADAS that is not one"
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a model, as ``model.dat`` declares it.

    A switch, or a scale such as an energy that others refer to, is not fitted; most have no limits.
    """

    name: str
    unit: str
    default: float
    minimum: float
    maximum: float
    switch: bool = False


@dataclass(frozen=True)
class Definition:
    """One model of XSPEC: its name, kind and parameters without the norm."""

    name: str
    kind: str
    symbol: str
    parameters: tuple[Parameter, ...]


# Models that read files of XSPEC's folder modelData, which the wheel leaves out: without these they
# are zero or not finite everywhere, or end the process. Found by trying all of HEASoft 6.35.1.
_READ_DATA = """
bcoolflow bcph bequil bgnei bnei bnpshock bpshock brnei bsedov bsnapec bvcoolflow bvcph bvequil
bvgnei bvnei bvnpshock bvpshock bvrnei bvsedov bvvgnei bvvnei bvvnpshock bvvpshock bvvrnei
bvvsedov carbatm cflow coolflow cph diskpn eqpair equil ezdiskbb gnei hatm kerrbb kerrd kerrdisk
kyrline laor laor2 meka mekal mkcflow nei npshock nsa nsagrav nsatmos nsmax nsmaxg nsx pshock
raymond rnei sedov slimbh smaug snapec vcoolflow vcph vequil vgnei vmcflow vmeka vmekal vnei
vnpshock vpshock vraymond vrnei vsedov vvgnei vvnei vvnpshock vvpshock vvrnei vvsedov xscat
zkerrbb zxipab zxipcf
"""
READ_DATA = frozenset(_READ_DATA.split())
# The library of which all models were tried.
TRIED = "HEASoft 6.35.1"

# Models that are called in this process, because they are used most. Many others end the process,
# or never answer, somewhere within their limits (agnsed, gabs, diskpbb, ...), and are called in
# another one. These were tried at all limits and at random, as tests/fuzz/test_models.py does.
_STEADY = """
agauss apec bapec bbody bbodyrad bcie bkn2pow bknpower bremss bvapec bvvapec cie comptt constant
cutoffpl diskbb edge expabs gaussian highecut logpar lorentz nlapec nthcomp pcfabs pegpwrlw phabs
powerlaw srcut tapec tbabs tbfeo tbgas vapec varabs vbremss voigt vphabs vvapec wabs zagauss zbbody
zbknpower zbremss zcutoffpl zedge zgauss zhighect zlogpar zlorentz zpcfabs zphabs zpowerlw ztbabs
zvphabs zwabs
"""
STEADY = frozenset(_STEADY.split())

# Models that read the tables of AtomDB: without these they are zero. Found in the same way.
_READ_ATOMDB = """
apec bapec bcempow bcheb6 bcie bexpcheb6 bgadem btapec bvapec bvcempow bvcheb6 bvcie bvexpcheb6
bvgadem bvtapec bvvapec bvvcie bvvgadem bvvtapec bvvwdem bvwdem bwdem c6mekl c6pmekl c6pvmkl
c6vmekl cemekl cempow cevmkl cheb6 cie expcheb6 gadem nlapec tapec vapec vcempow vcheb6 vcie
vexpcheb6 vgadem vtapec vvapec vvcie vvgadem vvtapec vvwdem vwdem wdem
"""
READ_ATOMDB = frozenset(_READ_ATOMDB.split())

NORM = Parameter("norm", "", 1.0, 0.0, 1e24)

# A compiled model: edges, parameters, and the arrays that it fills with values and errors.
_Function = Callable[[Floats, Floats, Floats, Floats], object]


# --- model.dat -------------------------------------------------------------------


def _headas() -> Path:
    loaded = "xspectrampoline_helpers" in sys.modules
    # The library of another process need not be there, in a container for one.
    if not loaded and not heasoft.is_heasoft(os.environ.get("HEADAS", "")):
        os.environ.pop("HEADAS", None)
    try:
        import xspectrampoline_helpers as helpers
    except ImportError as error:
        if "HEADAS" in os.environ:
            return Path(os.environ["HEADAS"])
        raise IcflowError(NO_LIBRARY.format(reason=error)) from None
    return Path(helpers.get_HEADAS())


def prefer_wheel() -> None:
    """Take the library inside the wheel even where ``HEADAS`` is set, unless one is loaded.

    XSPEC in a process of its own has that of ``HEADAS``: beside it stands another one.
    """
    if "xspectrampoline_helpers" not in sys.modules and find_spec("xspectrampoline") is not None:
        heasoft.set_aside()


@cache
def definitions() -> Mapping[str, Definition]:
    """Return every model of ``model.dat``, keyed by its name in lower case.

    Raises
    ------
    IcflowError
        If the model library is not installed or its ``model.dat`` is missing.
    """
    headas = _headas()
    # HEASoft keeps it beside the platform folder, the wheel inside.
    folders = (headas / "spectral/manager", headas.parent / "spectral/manager")
    for folder in folders:
        if (folder / "model.dat").is_file():
            return _Definitions((folder / "model.dat").read_text(encoding="latin-1"))
    raise IcflowError(NO_LIBRARY.format(reason=f"no spectral/manager/model.dat under {headas}"))


@cache
def missing_data() -> frozenset[str]:
    """Return the models, in lower case, whose data files the library comes without."""
    headas = _headas()
    folders = (headas / "spectral/modelData", headas.parent / "spectral/modelData")
    return frozenset() if any(folder.is_dir() for folder in folders) else READ_DATA


def check_data(definition: Definition) -> None:
    """Check that a model has its data files.

    Raises
    ------
    IcflowError
        If the library comes without them.
    """
    if definition.name.lower() in missing_data():
        raise IcflowError(
            f"{definition.name} reads data files of XSPEC that this installation comes without; "
            "use another model, such as apec for a plasma, or point HEADAS to a HEASoft that has "
            "them"
        )
    if version() != TRIED and definition.name.lower() in STEADY:
        trial.check_works(definition.name.lower(), version())


def try_defaults(name: str) -> Floats:
    """Evaluate a model at XSPEC's defaults, tried or not; it may end the process."""
    definition = definitions()[name]
    values = np.array([parameter.default for parameter in definition.parameters])
    edges = np.geomspace(0.1, 100.0, 1001)
    return evaluate_here(definition, edges, np.append(values, 0.0))


def reads_atomdb(definition: Definition) -> bool:
    """Tell whether a model needs the tables of AtomDB."""
    return definition.name.lower() in READ_ATOMDB


# shlex takes ten times as long, at each start of a job.
_WORD = re.compile(r'"([^"]*)"|(\S+)')


class _Definitions(Mapping[str, Definition]):
    """XSPEC's model definitions: a head line and a line for each parameter.

    A model is read when it is asked for: there are 250 of them, and fits have few.
    """

    def __init__(self, text: str) -> None:
        self._read: dict[str, Definition] = {}
        self._written: dict[str, list[str]] = {}
        lines = iter(text.splitlines())
        for line in lines:
            words = line.split(maxsplit=2)
            if words and not words[0].startswith("#"):
                parameters = [next(lines) for _ in range(int(words[1]))]
                self._written[words[0].lower()] = [line, *parameters]

    def __getitem__(self, name: str) -> Definition:
        if name not in self._read:
            head, *lines = self._written[name]
            own, _, _, _, symbol, kind = head.split()[:6]
            self._read[name] = Definition(own, kind, symbol, tuple(map(_parse_parameter, lines)))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._written)

    def __len__(self) -> int:
        return len(self._written)


def _parse_parameter(line: str) -> Parameter:
    """Parse one line: name, unit, default, hard and soft limits, step.

    ``$name`` is a switch, ``*name`` a scale; most have neither limits nor step.
    """
    words = [quoted or word for quoted, word in _WORD.findall(line)]
    name, switch = words[0].lstrip("$*"), words[0].startswith(("$", "*"))
    numbers = [value for value in map(_number, words[1:]) if value is not None]
    unit = words[1].strip() if len(words) > 1 and _number(words[1]) is None else ""
    if len(numbers) < 6:
        value = numbers[-1] if numbers else 0.0
        return Parameter(name, unit, value, -math.inf, math.inf, switch)
    value, low, _, _, high, _ = numbers[-6:]
    return Parameter(name, unit, value, low, high, switch)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


# --- the compiled library ------------------------------------------------------------


@contextmanager
def quiet() -> Iterator[None]:
    """Send what C and Fortran code prints to standard output to ``/dev/null``."""
    # What the C library keeps back where its output is no terminal is written with the rest.
    flush = ctypes.CDLL(None).fflush
    sys.stdout.flush()
    saved = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        yield
    finally:
        flush(None)
        os.dup2(saved, 1)
        os.close(saved)
        os.close(null)


@cache
def _load() -> Any:
    """Load the shared library once."""
    _headas()
    with quiet():
        try:
            import xspectrampoline
        except Exception as error:  # the package raises its own, bare ones
            reason = str(error) or type(error).__name__
            raise IcflowError(NO_LIBRARY.format(reason=reason)) from None
        libraries = xspectrampoline.get_libraries()
        libraries.lib_xs_functions.FPCHAT(0)
    return libraries


# Abundance tables that XSPEC has.
ABUNDANCES = ("angr", "aspl", "feld", "aneb", "grsa", "wilm", "lodd", "lpgp", "lpgs")
_configured: AtomicData | None = None
# Of the AtomDB tables that the library reads; they are looked for when a model needs them.
_tables: str | None = None


def configure(atomic_data: AtomicData) -> None:
    """Set abundances, cross sections and the AtomDB tables for all later calls.

    Raises
    ------
    IcflowError
        If the library cannot be loaded, or the abundance table is unknown.
    """
    global _configured, _tables
    if _configured == atomic_data:
        return
    library = _load().lib_xs_functions
    library.FGSOLR.restype = ctypes.c_char_p
    with quiet():
        for function, text in (
            (library.FPSOLR, atomic_data.abundances),
            (library.FPXSCT, atomic_data.cross_sections),
        ):
            function.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_int)]
            function(os.fsencode(text), ctypes.byref(ctypes.c_int(0)))
    if library.FGSOLR().decode().lower() != atomic_data.abundances.lower():
        raise _unknown_abundances(atomic_data)
    _configured, _tables = atomic_data, None


def configured() -> dict[str, str]:
    """Return what was set for all calls that decides about their results; nothing before."""
    return _configured.model_dump(exclude={"folder"}) if _configured else {}


def check_abundances(atomic_data: AtomicData) -> None:
    """Check the name of the abundance table, without the library.

    Raises
    ------
    IcflowError
        If XSPEC has none of this name.
    """
    if atomic_data.abundances.lower() not in ABUNDANCES:
        raise _unknown_abundances(atomic_data)


def _unknown_abundances(atomic_data: AtomicData) -> IcflowError:
    return IcflowError(
        f"atomic_data.abundances: {atomic_data.abundances!r} is not a table of XSPEC; "
        f"allowed: {', '.join(ABUNDANCES)}"
    )


def _point_to_tables() -> None:
    """Tell the library where the AtomDB tables are, once."""
    global _tables
    if _tables is None:
        root = atomdb.root(_configured or AtomicData())
        with quiet():
            set_string("APECROOT", root)
        _tables = root


def set_string(key: str, value: str) -> None:
    """Set one of XSPEC's model strings (``xset KEY VALUE``)."""
    function = _load().lib_xs_functions.FPMSTR
    function.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    function(key.encode(), os.fsencode(value))


def version() -> str:
    """Return the version of the model library, such as ``HEASoft 6.35.1``."""
    headas = str(_headas())
    if "LibXSPEC_v" in headas:
        return "HEASoft " + headas.rsplit("LibXSPEC_v", 1)[1].strip("/").replace("_", ".")
    return f"HEASoft at {headas}"


@cache
def _function(symbol: str) -> _Function:
    """Return the compiled function, behind one calling convention.

    ``model.dat`` tells the language by a prefix: ``C_`` C++ with C linkage,
    ``c_`` C, ``F_`` Fortran in double precision, none Fortran in single.
    """
    libraries = _load()
    try:
        if symbol.startswith("C_"):
            call = libraries.get_model(symbol)
        elif symbol.startswith("c_"):
            call = libraries.get_model(symbol[2:], interface="c")
        else:
            kind = np.float64 if symbol.startswith("F_") else np.float32
            name = symbol.removeprefix("F_") + "_"
            return _fortran(getattr(libraries.lib_xs_functions, name), kind)
    except AttributeError:
        raise IcflowError(f"the XSPEC library has no function {symbol}") from None
    return lambda edges, parameters, flux, error: call(edges, parameters, flux, error, "")


def _fortran(call: Any, kind: type) -> _Function:
    call.restype = None

    def function(edges: Floats, parameters: Floats, flux: Floats, error: Floats) -> None:
        arrays: list[AnyArray] = [
            np.ascontiguousarray(a, dtype=kind) for a in (edges, parameters, flux, error)
        ]
        energy, values, *results = [a.ctypes.data_as(ctypes.c_void_p) for a in arrays]
        count, spectrum = ctypes.c_int(len(flux)), ctypes.c_int(1)
        call(energy, ctypes.byref(count), values, ctypes.byref(spectrum), *results)
        flux[:], error[:] = arrays[2], arrays[3]

    return function


def evaluate(
    definition: Definition, edges: Floats, parameters: Floats, may_vanish: bool = False
) -> Floats:
    """Evaluate one model on an energy grid.

    Parameters
    ----------
    definition : Definition
        An additive or multiplicative model.
    edges : ndarray, shape (n_bins + 1,)
        Increasing bin edges in keV.
    parameters : ndarray, shape (n_parameters,)
        In XSPEC's order, without the norm.
    may_vanish : bool
        Whether an additive model may be zero on the whole grid.

    Returns
    -------
    ndarray, shape (n_bins,)
        Photons/cm²/s per bin for norm 1 (additive), or a factor per bin.

    Raises
    ------
    IcflowError
        If the AtomDB tables that the model reads are not there, the values are not finite, or
        an additive model is zero everywhere (`apec` prints a line and returns zeros when it
        cannot read its tables).
    """
    check_data(definition)
    if reads_atomdb(definition):
        _point_to_tables()
    edges = np.ascontiguousarray(edges, dtype=np.float64)
    values = np.ascontiguousarray(parameters if len(parameters) else [0.0], dtype=np.float64)
    if definition.name.lower() not in STEADY:
        where = f"{definition.name} at {_describe(definition, parameters)}"
        flux = _apart(_configured or AtomicData()).evaluate(
            definition.name.lower(), edges, values, where
        )
    else:
        flux = evaluate_here(definition, edges, values)
    if not np.all(np.isfinite(flux)):
        raise IcflowError(
            f"{definition.name} is not finite at {_describe(definition, parameters)}: "
            "move the parameters into the range that the model allows"
        )
    if definition.kind == ADDITIVE and not may_vanish and not np.any(flux):
        raise IcflowError(
            f"{definition.name} is zero everywhere at {_describe(definition, parameters)}: "
            "are its data files in place (`icflow fetch`) and its parameters in range?"
        )
    return flux


@cache
def _apart(atomic_data: AtomicData) -> Apart:
    return Apart(atomic_data)


def evaluate_here(definition: Definition, edges: Floats, values: Floats) -> Floats:
    """Return what a model gives, whatever that is; it may end the process."""
    if reads_atomdb(definition):
        with suppress(IcflowError):  # HEASoft has tables of its own
            _point_to_tables()
    flux, error = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    function = _function(definition.symbol)
    with quiet():
        function(edges, values, flux, error)
    return flux


def _describe(definition: Definition, values: Floats) -> str:
    pairs = zip(definition.parameters, values, strict=False)
    return ", ".join(f"{parameter.name}={value:g}" for parameter, value in pairs)
