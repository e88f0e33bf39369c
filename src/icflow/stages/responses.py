"""Stage: response files and a spectrum from archival NuSTAR data, with HEASoft.

`nupipeline` calibrates and screens the events of one module, `nuproducts`
extracts the spectrum of a region and makes its RMF and ARF (NuSTAR Data
Analysis Software Guide). Both work in a scratch folder of their own, under
short names, with parameter files of their own. Screened events are kept until
the responses are there: a stage that was killed goes on with them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from astropy.io import fits

from icflow import heasoft
from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.ogip.matching import matched
from icflow.ogip.response import read_arf, read_rmf
from icflow.settings import ResponseSettings

NO_TOOL = (
    "{tool} is not there: response files are made by HEASoft; run in the Apptainer image built "
    "from containers/heasoft.def (snakemake --use-singularity), or source the headas-init.sh of a "
    "HEASoft with the NuSTAR tasks"
)
NO_CALDB = (
    "CALDB is {caldb}, which holds no NuSTAR calibration ({index}); bind a folder that does, "
    "--apptainer-args='--bind FOLDER:/caldb', or build the image with its calibration files"
)
INDEX = "data/nustar/fpm/caldb.indx"


def run(settings: ResponseSettings, folder: Path, scratch: Path) -> None:
    """Make ``NAME.rmf``, ``NAME.arf`` and ``NAME.pha`` in `folder`.

    Parameters
    ----------
    settings : ResponseSettings
        Sequence, module, region and name.
    folder : Path
        Where the files go.
    scratch : Path
        Folder for what comes in between, several GB; deleted in the end.

    Raises
    ------
    IcflowError
        If HEASoft, its calibration files or the data are missing, or a task fails.
    """
    _check_tools()
    _check_data(settings)
    scratch.mkdir(parents=True, exist_ok=True)
    events = scratch / f"events-{_key(settings)}"
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        work = Path(name)
        (work / "data").symlink_to(Path(settings.data).resolve())
        (work / "source.reg").symlink_to(Path(settings.region).resolve())
        if not events.is_dir():
            _screen(settings, work)
            os.rename(work / "events", events)
        (work / "events").symlink_to(events.resolve())
        _extract(settings, work)
        _publish(settings, work / "products", folder)
    shutil.rmtree(scratch)


def _key(settings: ResponseSettings) -> str:
    """Return a digest of what the screened events depend on."""
    task = sorted(settings.nupipeline.items())
    decisive = (settings.sequence, settings.data, settings.module, task)
    return hashlib.sha256(repr(decisive).encode()).hexdigest()[:16]


def _check_tools() -> None:
    for tool in ("nupipeline", "nuproducts"):
        if shutil.which(tool) is None:
            raise IcflowError(NO_TOOL.format(tool=tool))
    caldb = os.environ.get("CALDB", "")
    if not (Path(caldb) / INDEX).is_file():
        raise IcflowError(NO_CALDB.format(caldb=caldb or "not set", index=INDEX))


def _check_data(settings: ResponseSettings) -> None:
    key = f"responses.{settings.name}"
    pattern = f"event_uf/nu{settings.sequence}{settings.module[-1]}_uf.evt*"
    if not list(Path(settings.data).glob(pattern)):
        raise IcflowError(
            f"{key}.data: {settings.data} holds no {pattern}; name the folder of sequence "
            f"{settings.sequence} as the archive gives it, with event_uf, auxil and hk"
        )
    if not Path(settings.region).is_file():
        raise IcflowError(f"{key}.region: {settings.region} does not exist; save one with ds9")


def _screen(settings: ResponseSettings, work: Path) -> None:
    """Calibrate and screen the events of one module into ``events``."""
    parameters = {
        "indir": "data",
        "steminputs": f"nu{settings.sequence}",
        "outdir": "events",
        "instrument": settings.module,
        "obsmode": "SCIENCE",
        "clobber": "yes",
    }
    _task("nupipeline", parameters | settings.nupipeline, work)


def _extract(settings: ResponseSettings, work: Path) -> None:
    """Extract a spectrum and make its responses in ``products``; no light curve, no image."""
    parameters = {
        "indir": "events",
        "steminputs": f"nu{settings.sequence}",
        "outdir": "products",
        "instrument": settings.module,
        "srcregionfile": "source.reg",
        "bkgextract": "no",
        "extended": "yes" if settings.extended else "no",
        "runmkarf": "yes",
        "runmkrmf": "yes",
        "lcfile": "NONE",
        "imagefile": "NONE",
        "clobber": "yes",
    }
    _task("nuproducts", parameters | settings.nuproducts, work)


def _task(tool: str, parameters: Mapping[str, str], work: Path) -> None:
    """Run a task of HEASoft; what it says goes where this process writes."""
    command = [tool, *(f"{name}={value}" for name, value in parameters.items())]
    done = subprocess.run(  # noqa: S603 - a fixed program, no shell
        command,
        cwd=work,
        env=heasoft.environment(work),
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode != 0:
        raise IcflowError(
            f"{tool} ended with status {done.returncode}; what it said stands above in the log"
        )


def _publish(settings: ResponseSettings, products: Path, folder: Path) -> None:
    """Check the products and put them where they belong, the spectrum last."""
    stem = products / f"nu{settings.sequence}{settings.module[-1]}01_sr"
    made = {suffix: stem.with_name(f"{stem.name}.{suffix}") for suffix in ("rmf", "arf", "pha")}
    for path in made.values():
        if not path.is_file():
            raise IcflowError(
                f"nuproducts made no {path.name}; what it said stands above in the log"
            )
    matched(read_rmf(made["rmf"]), read_arf(made["arf"]))
    for suffix in ("rmf", "arf"):
        with atomic_path(folder / f"{settings.name}.{suffix}") as temporary:
            shutil.copyfile(made[suffix], temporary)
    with (
        atomic_path(folder / f"{settings.name}.pha") as temporary,
        fits.open(made["pha"]) as file,
    ):
        file["SPECTRUM"].header["RESPFILE"] = f"{settings.name}.rmf"
        file["SPECTRUM"].header["ANCRFILE"] = f"{settings.name}.arf"
        file.writeto(temporary, overwrite=True)
