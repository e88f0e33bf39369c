"""The configuration: one typed tree, checked before any job starts.

`Config` mirrors `config.yaml`, one module for each of its sections.
"""

from icflow.config.detection import Detection, Detector, Scan
from icflow.config.fits import Fit, FitControl, Integrated, Ratio
from icflow.config.model import (
    AtomicData,
    Dataset,
    EngineName,
    FitModel,
    Free,
    Instrument,
    Link,
    Module,
    Scenario,
)
from icflow.config.networks import Architecture, Autoencoder, Training
from icflow.config.observe import Observation, Observe, ObservedSpectrum, Radio
from icflow.config.output import Archival, Figures
from icflow.config.reading import checked, explain, from_json, load, read_layers, validate
from icflow.config.systematics import Systematics
from icflow.config.tree import Config, overlay, shard_numbers

__all__ = [
    "Architecture",
    "Archival",
    "AtomicData",
    "Autoencoder",
    "Config",
    "Dataset",
    "Detection",
    "Detector",
    "EngineName",
    "Figures",
    "Fit",
    "FitControl",
    "FitModel",
    "Free",
    "Instrument",
    "Integrated",
    "Link",
    "Module",
    "Observation",
    "Observe",
    "ObservedSpectrum",
    "Radio",
    "Ratio",
    "Scan",
    "Scenario",
    "Systematics",
    "Training",
    "checked",
    "explain",
    "from_json",
    "load",
    "overlay",
    "read_layers",
    "shard_numbers",
    "validate",
]
