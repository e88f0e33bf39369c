"""Stage: a folder for a project, with the workflow that is installed."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import icflow
from icflow.config.reading import FILL_IN
from icflow.files import new_folder
from icflow.observation.fitting import names_of
from icflow.ogip.binary_table import read_tables
from icflow.ogip.kinds import is_spectrum
from icflow.ogip.names import FileName, beside
from icflow.ogip.observation import FILE, SpectrumFiles
from icflow.ogip.spectrum import check_counts, read_spectrum
from icflow.project import CONFIG, FILES, check_files, copy
from icflow.sections import NAME

# What a project has of its own: the configuration, files to lay over it, profiles, and the
# backgrounds and the example that the configuration names. Rules and environments stay installed;
# `icflow source` writes what images are built from.
COPIED = {
    "config.yaml": "config.yaml",
    "config": "config",
    "workflow/profiles": "profiles",
    "resources/background": "resources/background",
    "resources/example": "resources/example",
}
SNAKEFILE = """# The workflow of icflow as it is installed: snakemake --cores 2
# Made with icflow {version}; what is installed then is told by `icflow info`.
from icflow.project import SNAKEFILE


include: str(SNAKEFILE)


# Rules of your own may follow. Without a target, Snakemake makes what this one asks for.
rule everything:
    localrule: True
    default_target: True
    input:
        rules.all.input,
"""
# A companion that is to be filled in.
MISSING = Path(FILL_IN)
EMPTY = re.compile(r"^observations: \{\}.*$", re.MULTILINE)


def run(folder: Path, observation: Sequence[Path] = ()) -> str:
    """Make a project; nothing that is there is overwritten.

    Parameters
    ----------
    folder : path
        That is not there, or empty.
    observation : sequence of path
        Spectra of one source, which the configuration then names.

    Returns
    -------
    str
        What to do next.

    Raises
    ------
    IcflowError
        If the folder is there and not empty or cannot be written, or a spectrum cannot be used.
    """
    check_files()
    spectra = [_read(path) for path in observation]
    with new_folder(folder) as made:
        _fill(made, folder, spectra)
    todo = ["icflow fetch", "snakemake --cores 2"]
    if spectra:
        todo = [f"fill in what is {FILL_IN} in config.yaml", "icflow validate", *todo]
        todo[-1] += " observe"
    return "\n".join([f"{folder}: made; next, there:", *(f"  {step}" for step in todo)])


def _fill(made: Path, folder: Path, spectra: Sequence[SpectrumFiles]) -> None:
    """Write the files of a project that will be `folder`."""
    for name, place in COPIED.items():
        copy(FILES / name, made / place)
    text = SNAKEFILE.format(version=icflow.__version__)
    (made / "Snakefile").write_text(text, encoding="utf-8")
    if spectra:
        config = CONFIG.read_text(encoding="utf-8")
        entry = "\n".join(_entry(spectra, folder))
        (made / "config.yaml").write_text(EMPTY.sub(lambda _: entry, config), encoding="utf-8")


def _entry(spectra: Sequence[SpectrumFiles], folder: Path) -> list[str]:
    """Return the lines of the configuration on an observation."""
    lines = [
        "observations:                       # your own observations, by name: docs/observe.md",
        f"  {_name(spectra[0])}:",
        _line(4, "redshift", FILL_IN, "redshift of the source"),
        _line(4, "nH", FILL_IN, "Galactic column density towards it (1e22 cm^-2)"),
    ]
    names = names_of(spectra)
    indent = 4
    if names != [""]:
        lines.append("    spectra:")
        indent = 8
    for name, files in zip(names, spectra, strict=True):
        if name:
            lines.append(f"      {name}:")
        lines += _companions(files, folder, indent)
    return lines


def _read(path: Path) -> SpectrumFiles:
    """Return a spectrum with those companions that its header names and that are there."""
    spectrum = read_spectrum(path)
    check_counts(spectrum.counts, str(path))
    rmf, arf = (
        None if name is None else beside(path, name) or MISSING
        for name in (spectrum.respfile, spectrum.ancrfile)
    )
    return SpectrumFiles("", "", spectrum, rmf or MISSING, arf, None)


def _companions(files: SpectrumFiles, folder: Path, indent: int) -> list[str]:
    """Return the lines on one spectrum."""
    spectrum = files.spectrum
    seconds = f"{int(spectrum.counts.sum())} counts in {spectrum.exposure:g} s"
    told = "description of the background (docs/observe.md), or none"
    if spectrum.backfile and beside(Path(spectrum.path), spectrum.backfile):
        told = f"{FILE} for {spectrum.backfile}, a description of the background, or none"
    rows = (
        ("spectrum", Path(spectrum.path), seconds),
        ("rmf", files.rmf, _what("redistribution matrix", files.rmf, spectrum.respfile)),
        ("arf", files.arf, _what("effective area", files.arf, spectrum.ancrfile)),
        ("background", MISSING, told),
    )
    return [_line(indent, key, _there(path, folder), comment) for key, path, comment in rows]


def _there(path: Path | None, folder: Path) -> str:
    """Return how a configuration in a folder names a file."""
    if path is None or path == MISSING:
        return "none" if path is None else FILL_IN
    return os.path.relpath(path, folder)


def _what(file: str, path: Path | None, header: str | None) -> str:
    """Say what a companion is, and what the header says of one that is not there."""
    if path != MISSING:
        return file
    return f"{file}; the header names {header or 'none'}, which is not there"


def _line(indent: int, key: str, value: str, comment: str) -> str:
    text = value if re.fullmatch(r"[\w./+?-]+", value) else "'" + value.replace("'", "''") + "'"
    return f"{' ' * indent}{key}: {text}  # {comment}"


def _name(files: SpectrumFiles) -> str:
    """Return the name of the source as the spectrum has it, or else that of the file."""
    path = FileName.of(files.spectrum.path)
    table = next(filter(is_spectrum, path.select(read_tables(path.on_disk()))))
    for words in (table.text("OBJECT"), Path(path.path).stem, "source"):
        name = re.sub(r"[^A-Za-z0-9+._-]+", "_", words or "").strip("_.-+")
        if NAME.fullmatch(name):
            return name
    return "source"
