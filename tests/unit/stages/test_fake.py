"""`icflow fake`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from icflow.cli import main
from icflow.ogip.spectrum import Spectrum, read_spectrum


@pytest.fixture
def files(reference: Path) -> Path:
    """Spectra of a made-up instrument with background spectra."""
    return reference / "files"


def fake(files: Path, atomdb: Path, output: Path, *extra: str, like: str = "w_exp.pha") -> None:
    powerlaw = ["--expression", "powerlaw", "--set", "powerlaw.PhoIndex=2"]
    norm = ["--set", "powerlaw.norm=0.02", "--atomdb", str(atomdb)]
    arguments = ["fake", str(files / like), *powerlaw, *norm, "--output", str(output), *extra]
    assert main(arguments) == 0


def test_source_and_background_are_drawn_together(
    files: Path, atomdb: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    real, real_behind = (read_spectrum(files / name) for name in ("w_exp.pha", "w_exp_b.pha"))
    made: list[tuple[Spectrum, Spectrum]] = []
    for seed in ("1", "1", "2"):
        fake(files, atomdb, tmp_path / "fake.pha", "--seed", seed)
        made.append(
            (read_spectrum(tmp_path / "fake.pha"), read_spectrum(tmp_path / "fake_bkg.pha"))
        )
    assert f"fake_bkg.pha: {made[0][1].counts.sum()} counts" in capsys.readouterr().out
    for own, behind in made:
        assert own.backfile == "fake_bkg.pha"
        assert (own.exposure, own.backscal) == (real.exposure, real.backscal)
        assert (behind.exposure, behind.backscal) == (real_behind.exposure, real_behind.backscal)
        for drawn, true in ((own, real), (behind, real_behind)):
            total = true.counts.sum()
            assert abs(drawn.counts.sum() - total) < 5 * np.sqrt(2 * total)
    first, again, other = (own.counts for own, _ in made)
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert not np.array_equal(made[0][1].counts, made[2][1].counts)


def test_the_model_is_found_again(files: Path, atomdb: Path, tmp_path: Path) -> None:
    fake(files, atomdb, tmp_path / "fake.pha", "--exposure", "1e6")
    spectrum = read_spectrum(tmp_path / "fake.pha")
    assert spectrum.exposure == 1e6
    behind = read_spectrum(tmp_path / "fake_bkg.pha")
    assert behind.exposure == pytest.approx(100 * read_spectrum(files / "w_exp_b.pha").exposure)
    output = tmp_path / "fit.json"
    arguments = ["fit", str(tmp_path / "fake.pha"), "--expression", "powerlaw"]
    arguments += ["--energies", "3", "30", "--atomdb", str(atomdb), "--output", str(output)]
    assert main(arguments) == 0
    result = json.loads(output.read_text())
    assert result["statistic"] == "W" and result["cstat"] < 1.3 * result["dof"]
    index = result["parameters"]["powerlaw.PhoIndex"]
    assert abs(index["value"] - 2) < 4 * index["error"]


def test_without_background_none_is_drawn(files: Path, atomdb: Path, tmp_path: Path) -> None:
    fake(files, atomdb, tmp_path / "fake.pha", "--background", "none")
    assert read_spectrum(tmp_path / "fake.pha").backfile is None
    assert [path.name for path in tmp_path.iterdir()] == ["fake.pha"]


def test_bins_of_the_spectrum_are_kept(files: Path, atomdb: Path, tmp_path: Path) -> None:
    fake(files, atomdb, tmp_path / "fake.pha", like="w_qg.pha")
    like, made = read_spectrum(files / "w_qg.pha"), read_spectrum(tmp_path / "fake.pha")
    assert like.grouping is not None and like.quality is not None
    np.testing.assert_array_equal(made.grouping, like.grouping)
    np.testing.assert_array_equal(made.quality, like.quality)
