"""`icflow init`: a folder for a project."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy
import yaml

from icflow import config, project
from icflow.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy.write(tmp_path, toy.pha(OBJECT="Coma cluster (C)", INSTRUME="FPMA", BACKFILE="back.pha"))
    other = toy.pha(OBJECT="Coma cluster (C)", INSTRUME="FPMB", ANCRFILE=None)
    toy.save(tmp_path / "b.pha", other)
    toy.save(tmp_path / "back.pha", toy.pha())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_project_has_every_comment_and_what_its_configuration_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "mine/project"]) == 0
    assert "snakemake --cores 2" in capsys.readouterr().out
    made = folder / "mine/project"
    assert (made / "config.yaml").read_bytes() == project.CONFIG.read_bytes()
    for name in ("profiles/default", "config/tiny.yaml", "config/schema.json", "Snakefile"):
        assert (made / name).exists(), name
    named = config.load(made / "config.yaml").modules[0].background
    assert named is not None and (made / named).is_file()
    assert not list(made.rglob("*.rmf")) and not (made / "config").is_symlink()


def test_an_observation_is_described_but_for_what_no_header_knows(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "project", "--observation", "spec.pha", "b.pha"]) == 0
    path = folder / "project/config.yaml"
    tree = yaml.safe_load(path.read_text())["observations"]
    companions = {"rmf": "../resp.rmf", "background": "???"}
    assert tree == {
        "Coma_cluster_C": {
            "redshift": "???",
            "nH": "???",
            "spectra": {
                "FPMA": {"spectrum": "../spec.pha", "arf": "../area.arf", **companions},
                "FPMB": {"spectrum": "../b.pha", "arf": "none", **companions},
            },
        }
    }
    assert "file for back.pha" in path.read_text()
    capsys.readouterr()
    assert main(["validate", "--config", str(path)]) == 1
    error = capsys.readouterr().err
    wanted = ["redshift", "nH", "spectra.FPMA.background", "spectra.FPMB.background"]
    assert (
        f"fill in {', '.join(f'observations.Coma_cluster_C.{key}' for key in wanted)}, in" in error
    )
    path.write_text(path.read_text().replace("???", "0.1", 2).replace("???", "none"))
    assert config.load(path).observations["Coma_cluster_C"].redshift == 0.1


def test_companions_that_are_not_there_are_to_be_filled_in(folder: Path) -> None:
    (folder / "resp.rmf").unlink()
    toy.save(folder / "none.pha", toy.pha(RESPFILE=None))
    assert main(["init", "project", "--observation", "spec.pha", "none.pha"]) == 0
    text = (folder / "project/config.yaml").read_text()
    spectra = yaml.safe_load(text)["observations"]["Coma_cluster_C"]["spectra"]
    assert {one["rmf"] for one in spectra.values()} == {"???"}
    assert "the header names resp.rmf, which is not there" in text


def test_a_source_without_a_name_is_called_as_its_file(folder: Path) -> None:
    toy.save(folder / "nu A01_sr.pha", toy.pha())
    assert main(["init", "project", "--observation", "nu A01_sr.pha"]) == 0
    tree = yaml.safe_load((folder / "project/config.yaml").read_text())
    assert tree["observations"]["nu_A01_sr"]["spectrum"] == "../nu A01_sr.pha"


def test_nothing_is_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "project").mkdir()
    (folder / "project/mine.txt").write_text("mine")
    assert main(["init", "project"]) == 1
    assert "project: is there and not empty, and nothing is overwritten" in capsys.readouterr().err
    assert [path.name for path in (folder / "project").iterdir()] == ["mine.txt"]


def test_what_cannot_be_made_leaves_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert main(["init", "project", "--observation", "gone.pha"]) == 1
    assert "gone.pha" in capsys.readouterr().err
    (folder / "file").touch()
    assert main(["init", "file/project"]) == 1
    assert "file/project: cannot be written" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == sorted([*before, folder / "file"])
