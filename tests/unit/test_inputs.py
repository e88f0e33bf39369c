"""The files that a run reads: those that are missing, and that their content counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trees import changed

from icflow import config, inputs
from icflow.errors import IcflowError


def test_a_missing_file_of_the_user_is_refused_and_a_fetchable_one_is_not(
    default: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = changed(default, ("instrument", "background"), None)
    digests = inputs.digests(config.validate(tree, "c"))
    assert set(digests) == {
        "resources/atomdb/apec_v3.0.9_coco.fits",
        "resources/atomdb/apec_v3.0.9_line.fits",
        "resources/responses/nustar_fpma.arf",
        "resources/responses/nustar_fpma.rmf",
    }
    mine = changed(tree, ("instrument", "arf"), "resources/responses/mine.arf")
    with pytest.raises(IcflowError, match=r"instrument\.arf: resources/responses/mine\.arf does"):
        inputs.digests(config.validate(mine, "c"))
    with pytest.raises(IcflowError, match=r"instrument\.background: .* does not exist"):
        inputs.digests(config.validate(default, "c"))


def test_the_content_of_a_file_counts_not_its_time(
    default: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = changed(default, ("instrument", "background"), None)
    tree = changed(tree, ("instrument", "arf"), "mine.arf")
    whole = config.validate(tree, "c")
    arf = tmp_path / "mine.arf"
    arf.write_bytes(b"one")
    before = inputs.digests(whole)["mine.arf"]
    arf.write_bytes(b"one")
    assert inputs.digests(whole)["mine.arf"] == before
    arf.write_bytes(b"two")
    assert inputs.digests(whole)["mine.arf"] != before


def test_a_file_of_the_users_under_the_name_of_a_resource_is_refused(
    default: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = changed(default, ("instrument", "background"), None)
    rmf = tmp_path / tree["instrument"]["rmf"]
    rmf.parent.mkdir(parents=True)
    rmf.write_bytes(b"mine")
    with pytest.raises(IcflowError, match=r"instrument\.rmf: .* SHA-256 .* another name"):
        inputs.digests(config.validate(tree, "c"))


def test_a_missing_image_is_refused_where_its_engine_needs_it(
    default: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "icflow.sif").touch()
    images = {"icflow": str(tmp_path / "icflow.sif"), "heasoft": "nowhere/heasoft.sif"}
    tree = changed(default, ("containers",), images)
    inputs.check_images(config.validate(tree, "c"))
    xspec = changed(tree, ("engine",), "xspec")
    with pytest.raises(
        IcflowError, match=r"containers\.heasoft: nowhere/heasoft\.sif does not exist"
    ):
        inputs.check_images(config.validate(xspec, "c"))
    registry = changed(xspec, ("containers", "heasoft"), "docker://somewhere/heasoft:6.36")
    inputs.check_images(config.validate(registry, "c"))
