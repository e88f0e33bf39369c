"""The configuration: one typed tree, checked before any job starts.

`Config` mirrors `config.yaml`, one module for each of its sections.
"""

from icflow.config.detection import Detection, Detector, Pair, Scan, ScanPoint
from icflow.config.fits import Delta, Errors, Fit, FitControl, Fits, Integrated
from icflow.config.model import (
    AtomicData,
    Dataset,
    Drawn,
    EngineName,
    FitModel,
    Fitted,
    Free,
    Instrument,
    Link,
    Module,
    Scenario,
)
from icflow.config.networks import Architecture, Autoencoder, Labels, LabelSource, Network, Training
from icflow.config.observe import Observation, Observe, ObservedSpectrum, Radio
from icflow.config.output import Archival, Containers, Figures
from icflow.config.reading import checked, explain, from_json, load, validate
from icflow.config.tree import Config, overlay, shard_numbers
from icflow.sections import (
    Energies,
    Fraction,
    Interval,
    Measured,
    Number,
    Positive,
    Scatter,
    Section,
    Settings,
    listed,
)

__all__ = [
    "Architecture",
    "Archival",
    "AtomicData",
    "Autoencoder",
    "Config",
    "Containers",
    "Dataset",
    "Delta",
    "Detection",
    "Detector",
    "Drawn",
    "Energies",
    "EngineName",
    "Errors",
    "Figures",
    "Fit",
    "FitControl",
    "FitModel",
    "Fits",
    "Fitted",
    "Fraction",
    "Free",
    "Instrument",
    "Integrated",
    "Interval",
    "LabelSource",
    "Labels",
    "Link",
    "Measured",
    "Module",
    "Network",
    "Number",
    "Observation",
    "Observe",
    "ObservedSpectrum",
    "Pair",
    "Positive",
    "Radio",
    "Scan",
    "ScanPoint",
    "Scatter",
    "Scenario",
    "Section",
    "Settings",
    "Training",
    "checked",
    "explain",
    "from_json",
    "listed",
    "load",
    "overlay",
    "shard_numbers",
    "validate",
]
