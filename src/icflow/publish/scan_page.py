"""The page of a scan: its table and figure, and how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from icflow import provenance
from icflow import settings as settings_of
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.files import write_text
from icflow.layout import SCAN_CSV, SCAN_MARKDOWN, Layout
from icflow.publish.figures import scans
from icflow.publish.pages import UNRECORDED, draw_small, fill, options


def run(config: Config, name: str, files: Sequence[str], results: Path, output: Path) -> list[Path]:
    """Write the page of a scan, the table behind it and its image.

    Parameters
    ----------
    config : Config
        The whole configuration.
    name : str
        The scan.
    files : sequence of str
        The files that the configuration was read from, for the commands on the page.
    results : path
        Folder of the results of a finished run.
    output : path
        Folder that gets ``NAME_scan.md``, ``NAME_scan.csv`` and ``NAME_scan.png``.

    Returns
    -------
    list of path
        The files written.

    Raises
    ------
    IcflowError
        If the scan has not been made.
    """
    settings, made = settings_of.scan(config, name), Layout(results).scan(name)
    # Before files of the checkout change.
    revision = provenance.git_revision() or UNRECORDED
    page, table, image = (output / f"{name}_scan.{suffix}" for suffix in ("md", "csv", "png"))
    # The figure checks that the table is of these detectors.
    draw_small(lambda: scans.draw(settings, made), image)
    write_text(table, _read(made / SCAN_CSV))
    write_text(
        page,
        fill(
            "scan.md.j2",
            title=settings.scan.title,
            name=name,
            options=options(files),
            revision=revision,
            table=_read(made / SCAN_MARKDOWN),
        ),
    )
    return [page, table, image]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise IcflowError(f"{path}: cannot be read ({error.strerror or error})") from None
