"""Stage: a spectrum like an observed one, drawn from a model, with its background spectrum.

As XSPEC's ``fakeit``: response, background, bins and, unless another is given,
exposure are those of the observed spectrum; counts of source and background are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from icflow.config import FitControl, FitModel, ObservedSpectrum
from icflow.engines.base import BACKGROUND
from icflow.models.expression import parse
from icflow.models.scenario import complete, resolve
from icflow.observation.engine import ObservedEngine, draw_counts
from icflow.ogip.observation import EVERYTHING, SpectrumFiles, check_companions, read_files
from icflow.ogip.spectrum import write_spectrum
from icflow.settings import FakeSettings
from icflow.typing import Floats


def run(settings: FakeSettings, spectrum: Path, output: Path) -> list[str]:
    """Draw a spectrum and write it as a PHA file; its background spectrum comes beside it.

    The background is what the observed background spectrum says on average
    (`icflow.observation.engine.expected_background`), or a description of components.
    With another exposure the background spectrum is longer or shorter likewise.

    Parameters
    ----------
    spectrum : path
        The observed spectrum.
    output : path
        PHA file; ``NAME_bkg.pha`` for the background spectrum.

    Returns
    -------
    list of str
        What was written.

    Raises
    ------
    IcflowError
        If the spectrum, its response or the model cannot be used.
    """
    companions = {key: getattr(settings, key) for key in ("rmf", "arf", "background")}
    asked = read_files(ObservedSpectrum(spectrum=str(spectrum), **companions))
    files, _, energies = check_companions(asked, *EVERYTHING, cut=True)
    longer = (settings.exposure or files.spectrum.exposure) / files.spectrum.exposure
    expected = longer * _expected(settings, files, energies)
    drawn = draw_counts(expected, settings.seed, "fake", [0])[0].astype(np.int64)
    own, behind = np.split(drawn, [files.spectrum.counts.size])
    beside = output.with_name(f"{output.stem}_bkg{output.suffix}")
    faked = replace(
        files.spectrum,
        counts=own,
        exposure=longer * files.spectrum.exposure,
        respfile=str(files.rmf),
        ancrfile=None if files.arf is None else str(files.arf),
        backfile=None if files.behind is None else beside.name,
    )
    written = [f"{output}: {own.sum()} counts in {faked.exposure:g} s"]
    if files.behind is not None:
        exposure = longer * files.behind.exposure
        write_spectrum(beside, replace(files.behind, counts=behind, exposure=exposure))
        written.append(f"{beside}: {behind.sum()} counts in {exposure:g} s")
    write_spectrum(output, faked)
    return written


def _expected(settings: FakeSettings, files: SpectrumFiles, energies: Sequence[float]) -> Floats:
    """Return expected counts for the exposure of the file, those of the background behind."""
    control = FitControl(
        energies=list(energies), group_min=0, background_range=0, starts=1, max_iterations=1
    )
    engine = ObservedEngine([files], control, True, settings.atomic_data)
    parameters = complete(parse(settings.expression), settings.values, "--set")
    values = resolve(parameters, {})
    values |= {BACKGROUND + name: 1.0 for name in engine.engine.backgrounds}
    model = FitModel(expression=settings.expression, parameters={**values})
    return engine.expected(model, values)
