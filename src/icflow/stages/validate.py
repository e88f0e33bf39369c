"""Stage: check a configuration with everything that it names."""

from __future__ import annotations

from collections.abc import Sequence

from icflow import inputs
from icflow.config import Config
from icflow.detection import scan
from icflow.layout import Layout


def run(config: Config, files: Sequence[str]) -> str:
    """Check keys, model names and input files, and say that they are right.

    Raises
    ------
    IcflowError
        Naming the first that is not.
    """
    inputs.check_all(config)
    scan.check(config)
    Layout().check()
    for name in config.observations:
        inputs.check_observation(config, name)
        inputs.check_responses(config, name)
    return f"{', '.join(files)}: valid"
