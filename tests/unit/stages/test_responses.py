"""Response files from archival data, with stand-ins for HEASoft's tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import eye_array

from icflow.errors import IcflowError
from icflow.ogip.response import Rmf, read_arf, read_rmf, write_arf, write_rmf
from icflow.ogip.spectrum import Spectrum, read_spectrum, write_spectrum
from icflow.settings import ResponseSettings
from icflow.stages import responses

SEQUENCE = "60201056002"
CHANNELS = 20
# Notes how it was called, looks for what it is to read, and does what the real task would.
TASK = """\
#!{python}
import json, os, shutil, sys
from pathlib import Path
parameters = dict(word.split("=", 1) for word in sys.argv[1:])
note = dict(task="{tool}", pfiles=os.environ["PFILES"], query=os.environ["HEADASNOQUERY"])
with open("{calls}", "a") as file:
    file.write(json.dumps(note | parameters) + "\\n")
print("{tool} says much")
if os.environ.get("FAILS") == "{tool}":
    sys.exit(3)
assert Path(parameters["indir"]).is_dir()
out = Path(parameters["outdir"])
out.mkdir()
if "{tool}" == "nuproducts" and os.environ.get("FAILS") != "silently":
    assert Path(parameters["srcregionfile"]).read_text() == "circle(1,2,3)"
    for path in Path("{products}").iterdir():
        shutil.copy(path, out)
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-ins first on the path, with data to work on; give the file of their calls."""
    for name in ("tools", "products", "archive/event_uf", "caldb/data/nustar/fpm"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "archive" / "event_uf" / f"nu{SEQUENCE}A_uf.evt.gz").touch()
    (tmp_path / "caldb" / "data" / "nustar" / "fpm" / "caldb.indx").touch()
    (tmp_path / "mine.reg").write_text("circle(1,2,3)")
    make_products(tmp_path / "products" / f"nu{SEQUENCE}A01_sr")
    for tool in ("nupipeline", "nuproducts"):
        text = TASK.format(
            python=sys.executable,
            tool=tool,
            calls=tmp_path / "calls",
            products=tmp_path / "products",
        )
        (tmp_path / "tools" / tool).write_text(text)
        (tmp_path / "tools" / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'tools'}:/usr/bin:/bin")
    monkeypatch.setenv("CALDB", str(tmp_path / "caldb"))
    monkeypatch.setenv("PFILES", "/home/me/pfiles;/opt/heasoft/syspfiles")
    return tmp_path / "calls"


def make_products(stem: Path) -> None:
    """Write what nuproducts would."""
    low = np.linspace(1.0, 2.0, CHANNELS, endpoint=False)
    high = np.append(low[1:], 2.0)
    channel = np.arange(CHANNELS)
    identity = eye_array(CHANNELS, format="csr")
    write_rmf(f"{stem}.rmf", Rmf(low, high, identity, channel, low, high))
    write_arf(f"{stem}.arf", low, high, np.full(CHANNELS, 100.0))
    spectrum = Spectrum(
        channel=channel,
        counts=channel,
        exposure=5.0,
        respfile=f"{stem.name}.rmf",
        ancrfile=f"{stem.name}.arf",
    )
    write_spectrum(f"{stem}.pha", spectrum)


def settings(folder: Path, **changes: Any) -> ResponseSettings:
    tree = {
        "name": "mine",
        "sequence": SEQUENCE,
        "data": str(folder / "archive"),
        "module": "FPMA",
        "region": str(folder / "mine.reg"),
    }
    return ResponseSettings(**(tree | changes))


def run(folder: Path, **changes: Any) -> None:
    responses.run(settings(folder, **changes), folder / "responses", folder / "scratch")


def read_calls(calls: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in calls.read_text().splitlines()]


def test_the_tasks_are_asked_for_one_module_and_region(calls: Path, tmp_path: Path) -> None:
    run(tmp_path, nupipeline={"saamode": "strict"}, nuproducts={"boxsize": "10"})
    screening, extraction = read_calls(calls)
    for call in (screening, extraction):
        own, system = call.pop("pfiles").split(";")
        assert own.startswith(str(tmp_path / "scratch"))
        assert system == "/opt/heasoft/syspfiles"
        assert call.pop("query") == ""
    assert screening == {
        "task": "nupipeline",
        "indir": "data",
        "steminputs": f"nu{SEQUENCE}",
        "outdir": "events",
        "instrument": "FPMA",
        "obsmode": "SCIENCE",
        "clobber": "yes",
        "saamode": "strict",
    }
    assert extraction == {
        "task": "nuproducts",
        "indir": "events",
        "steminputs": f"nu{SEQUENCE}",
        "outdir": "products",
        "instrument": "FPMA",
        "srcregionfile": "source.reg",
        "bkgextract": "no",
        "extended": "yes",
        "runmkarf": "yes",
        "runmkrmf": "yes",
        "lcfile": "NONE",
        "imagefile": "NONE",
        "clobber": "yes",
        "boxsize": "10",
    }


def test_the_files_get_their_names(calls: Path, tmp_path: Path) -> None:
    run(tmp_path, extended=False)
    assert read_calls(calls)[1]["extended"] == "no"
    folder = tmp_path / "responses"
    assert sorted(path.name for path in folder.iterdir()) == ["mine.arf", "mine.pha", "mine.rmf"]
    assert read_rmf(folder / "mine.rmf").channel.size == CHANNELS
    assert read_arf(folder / "mine.arf").area[0] == 100
    spectrum = read_spectrum(folder / "mine.pha")
    assert (spectrum.respfile, spectrum.ancrfile) == ("mine.rmf", "mine.arf")
    assert list(spectrum.counts) == list(range(CHANNELS))
    assert not (tmp_path / "scratch").exists()


def test_screened_events_survive_a_failure_and_serve_their_settings_only(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILS", "nuproducts")
    for changes in ({}, {}, {"nupipeline": {"saamode": "strict"}}):
        with pytest.raises(IcflowError, match="nuproducts ended with status 3"):
            run(tmp_path, **changes)
    monkeypatch.delenv("FAILS")
    run(tmp_path)
    tasks = [call["task"] for call in read_calls(calls)]
    again = ["nupipeline", "nuproducts"]
    assert tasks == [*again, "nuproducts", *again, "nuproducts"]


@pytest.mark.parametrize(
    ("fails", "sentence"),
    [
        ("nupipeline", "nupipeline ended with status 3; what it said stands above in the log"),
        ("silently", f"nuproducts made no nu{SEQUENCE}A01_sr.rmf"),
    ],
)
def test_a_task_that_fails_is_named_and_leaves_nothing(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, sentence: str
) -> None:
    monkeypatch.setenv("FAILS", fails)
    with pytest.raises(IcflowError, match=sentence):
        run(tmp_path)
    assert not (tmp_path / "responses").exists()


def test_what_is_missing_is_named(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IcflowError, match=r"responses\.mine\.region: .*other\.reg does not exist"):
        run(tmp_path, region=str(tmp_path / "other.reg"))
    with pytest.raises(
        IcflowError, match=r"responses\.mine\.data: .* holds no event_uf/nu60201056"
    ):
        run(tmp_path, module="FPMB")
    monkeypatch.setenv("CALDB", "/caldb")
    with pytest.raises(IcflowError, match="CALDB is /caldb, which holds no NuSTAR calibration"):
        run(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(IcflowError, match=r"nupipeline is not there: .*containers/heasoft\.def"):
        run(tmp_path)
    assert not calls.exists()


def test_the_command_and_its_rule(
    calls: Path, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target makes the files through the rule, once."""
    (tmp_path / "config.yaml").write_bytes((root / "config.yaml").read_bytes())
    entry = settings(tmp_path).model_dump(exclude={"name"})
    (tmp_path / "archival.yaml").write_text(json.dumps({"responses": {"mine": entry}}))
    for name in ("responses", "background", "atomdb"):
        (tmp_path / "resources" / name).mkdir(parents=True)
    background = "resources/background/nustar_fpma.yaml"
    (tmp_path / background).write_bytes((root / background).read_bytes())
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        root / "Snakefile",
        "--cores",
        "1",
        "--configfile",
        "archival.yaml",
        "--",
        "responses",
    ]
    for _ in range(2):
        done = subprocess.run(
            command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "Nothing to be done" in done.stderr + done.stdout
    assert (tmp_path / "resources/responses/mine.rmf").exists()
    assert [call["task"] for call in read_calls(calls)] == ["nupipeline", "nuproducts"]
    assert "nuproducts says much" in (tmp_path / "results/logs/responses/mine.log").read_text()
