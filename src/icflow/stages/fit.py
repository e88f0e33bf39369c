"""Stage: the fit of one spectrum, or of several jointly.

Nothing of the workflow is needed here: model, response and data come from the
command line, as in a session with XSPEC.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow.files import check_output, write_json
from icflow.observation import fitting
from icflow.observation.fit_output import as_json, as_text
from icflow.publish.figures import style
from icflow.settings import FitSpectrumSettings

DPI = 200  # of bitmaps


def run(
    settings: FitSpectrumSettings,
    spectra: Sequence[Path],
    output: Path | None = None,
    save: Path | None = None,
    plot: Path | None = None,
    unfolded: bool = False,
) -> str:
    """Fit OGIP spectra, several jointly, and return the result as a table to read.

    Parameters
    ----------
    output, save, plot : path, optional
        Files to write: the result as JSON, as a save file of XSPEC, a figure.
    unfolded : bool
        Whether the figure shows the source before the response too.

    Raises
    ------
    IcflowError
        If a spectrum, its response or the model cannot be used, or the fit fails.
    """
    fitting.check_expression(settings.expression)
    if plot is not None:
        style.check_suffix(plot)
    files, energies = fitting.read(settings, spectra)
    # Now that all has been read that is not to be replaced.
    for path in filter(None, (output, save, plot)):
        check_output(path)
    if save is not None:
        from icflow.observation import fit_saving  # slow to import, and often not needed

        fit_saving.check_saved(files, save)
    fit = fitting.fit(settings, files, energies)
    if output is not None:
        write_json(output, as_json(fit))
    if save is not None:
        fit_saving.save(fit, save)
    if plot is not None:
        from icflow.observation import fit_figure

        style.write(lambda: fit_figure.of_fit(fit, unfolded), DPI, [plot])
    return "\n".join(as_text(fit))
