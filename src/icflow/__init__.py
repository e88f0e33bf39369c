"""Simulate, fit and classify hard X-ray spectra of galaxy clusters.

The names below are all that a notebook needs; each is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from icflow.api.data import data_file
    from icflow.api.fit import Fit
    from icflow.api.instrument import Instrument
    from icflow.api.likelihood import Likelihood
    from icflow.api.model import Model
    from icflow.api.observing import Verdict, observe
    from icflow.api.saved import read_xcm
    from icflow.api.spectrum import Spectrum, read_spectrum
    from icflow.errors import IcflowError

_PLACES = {
    "Fit": "api.fit",
    "IcflowError": "errors",
    "Instrument": "api.instrument",
    "Likelihood": "api.likelihood",
    "Model": "api.model",
    "Spectrum": "api.spectrum",
    "Verdict": "api.observing",
    "data_file": "api.data",
    "observe": "api.observing",
    "read_spectrum": "api.spectrum",
    "read_xcm": "api.saved",
}

__all__ = [
    "Fit",
    "IcflowError",
    "Instrument",
    "Likelihood",
    "Model",
    "Spectrum",
    "Verdict",
    "data_file",
    "observe",
    "read_spectrum",
    "read_xcm",
]


def __getattr__(name: str) -> Any:
    """Import a public name from where it is."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"icflow.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
