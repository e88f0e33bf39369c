"""Observations in the configuration: what is read, and every input that is refused."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.io import fits

from icflow import checks, inputs
from icflow import config as configuration
from icflow import settings as settings_of
from icflow.cli import main
from icflow.config import Config
from icflow.errors import IcflowError
from icflow.ogip.observation import observed_groups, read_observation
from icflow.ogip.response import read_rmf, write_rmf
from icflow.ogip.spectrum import Spectrum, read_spectrum, write_spectrum

ROOT = Path(__file__).resolve().parents[3]
RMF = "resources/responses/nustar_fpma.rmf"


@pytest.fixture
def folder(tmp_path: Path, reference: Path, rmf_path: Path, arf_path: Path, atomdb: Path) -> Path:
    """A working directory with the spectrum of the reference and its response."""
    (tmp_path / "resources/responses").mkdir(parents=True)
    for path, below in ((rmf_path, "responses"), (arf_path, "responses"), (atomdb, "")):
        (tmp_path / "resources" / below / path.name).symlink_to(path)
    shutil.copytree(ROOT / "resources/background", tmp_path / "resources/background")
    shutil.copy(reference / "observation.pha", tmp_path / "mine.pha")
    previous = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(previous)


GIVEN = {
    "spectrum": "mine.pha",
    "rmf": RMF,
    "arf": RMF.replace("rmf", "arf"),
    "background": "resources/background/nustar_fpma.yaml",
    "redshift": 0.0432,
    "nH": 0.00858,
}


def observing(change: dict[str, Any] | None = None, **keys: Any) -> Config:
    """Return the default configuration with one observation, `mine`."""
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    given = GIVEN | (change or {}) | keys
    observation = {key: value for key, value in given.items() if value is not None}
    return configuration.validate({**tree, "observations": {"mine": observation}}, "config.yaml")


def check(config: Config) -> None:
    checks.check(config, contents=True)


def edit(path: str, change: Callable[[Any], None]) -> None:
    """Change the table of a PHA file in place."""
    with fits.open(path, mode="update") as hdus:
        change(hdus[1])


def without(keyword: str) -> Callable[[], None]:
    return lambda: edit("mine.pha", lambda hdu: hdu.header.remove(keyword))


def keyword(name: str, value: Any) -> Callable[[], None]:
    return lambda: edit("mine.pha", lambda hdu: hdu.header.set(name, value))


def negative() -> None:
    edit("mine.pha", lambda hdu: hdu.data["COUNTS"].__setitem__(5, -3))


def rate() -> None:
    edit("mine.pha", lambda hdu: hdu.header.update({"TTYPE2": "RATE", "EXPOSURE": 0.3}))


def empty() -> None:
    edit("mine.pha", lambda hdu: hdu.data["COUNTS"].fill(0))


def shifted() -> None:
    def change(hdu: Any) -> None:
        hdu.data["CHANNEL"] += 1

    edit("mine.pha", change)


def shorter() -> None:
    write_spectrum("mine.pha", short(read_spectrum("mine.pha")))


def short(spectrum: Spectrum) -> Spectrum:
    return Spectrum(spectrum.channel[:100], spectrum.counts[:100], 1e6, telescope="NuSTAR")


def nothing() -> None:
    pass


REFUSED: list[tuple[str, Callable[[], None], dict[str, Any], list[str]]] = [
    ("rate", rate, {}, ["observations.mine.spectrum: mine.pha", "RATE", "COUNTS", "convert"]),
    ("negative", negative, {}, ["mine.pha: 1 values of COUNTS are negative", "total spectrum"]),
    ("net", keyword("HDUCLAS2", "NET"), {}, ["background-subtracted", "total spectrum"]),
    ("exposure", without("EXPOSURE"), {}, ["mine.pha", "EXPOSURE is missing", "seconds"]),
    ("zero exposure", keyword("EXPOSURE", 0.0), {}, ["EXPOSURE is 0.0, not a positive number"]),
    ("no counts", empty, {}, ["mine.pha: the spectrum holds no counts"]),
    ("telescope", keyword("TELESCOP", "XMM"), {}, ["another instrument", "NuSTAR", "XMM", "give"]),
    ("module", keyword("INSTRUME", "FPMB"), {}, ["another instrument", "INSTRUME", "FPMA"]),
    ("channels", shorter, {}, ["channels 0 to 99", "0 to 4095", "give the response"]),
    ("first channel", shifted, {}, ["channels 1 to 4096", "0 to 4095"]),
    ("low", nothing, {"energies": [1.0, 80.0]}, ["1 to 80 keV", "1.6 to 165.44", "`energies`"]),
    ("high", nothing, {"energies": [3.0, 400.0]}, ["3 to 400 keV", "set `energies` inside"]),
    ("spectrum", nothing, {"spectrum": "no.pha"}, ["mine.spectrum: no.pha: no such file"]),
    ("rmf", nothing, {"rmf": "no.rmf"}, ["observations.mine", "no.rmf does not exist"]),
    ("arf", nothing, {"arf": "no.arf"}, ["observations.mine", "no.arf does not exist"]),
    ("swapped", nothing, {"arf": RMF}, ["not an effective area but a redistribution matrix"]),
    ("background", nothing, {"background": "no.yaml"}, ["mine.background: no.yaml does not exist"]),
    ("respfile", nothing, {"rmf": None}, ["RESPFILE is nustar_fpma.rmf", "observations.mine.rmf"]),
    (
        "backfile",
        keyword("BACKFILE", "mine_bkg.pha"),
        {"background": None},
        ["BACKFILE", "`background: file`", "`background: none`"],
    ),
    ("nan", nothing, {"redshift": float("nan")}, ["mine.redshift: is nan", "measured value"]),
    ("text nan", nothing, {"redshift": "nan"}, ["mine.redshift: is nan", "measured value"]),
    ("nH", nothing, {"nH": -1.0}, ["mine.nH: is -1.0", "greater than or equal to 0"]),
    ("huge nH", nothing, {"nH": 1e9}, ["observations.mine.TBabs.nH", "hard limits"]),
    ("unknown", nothing, {"red_shift": 0.1}, ["red_shift: unknown key, did you mean redshift?"]),
    ("both", nothing, {"spectra": {"A": {"spectrum": "mine.pha"}}}, ["either spectrum, or spectr"]),
    ("neither", nothing, {"spectrum": None}, ["mine: give either spectrum, or spectra by name"]),
    (
        "prior",
        nothing,
        {"priors": {"2T": {"apec.z": {"uniform": [0.0, 1.0]}}}},
        ["priors.2T names 'apec.z'", "apec.kT"],
    ),
    (
        "prior beyond the fit",
        nothing,
        {"priors": {"2T": {"apec.kT": {"uniform": [6.0, 20.0]}}}},
        ["mine.priors.2T.apec.kT reaches from 6 to 20, outside of 0.5 to 15", "narrow the prior"],
    ),
    (
        "prior below the fit",
        nothing,
        {"priors": {"1T+IC": {"apec.kT": {"log_uniform": [0.1, 9.0]}}}},
        ["mine.priors.1T+IC.apec.kT reaches from 0.1 to 9", "narrow the prior"],
    ),
    ("model", nothing, {"priors": {"3T": {}}}, ["mine.priors is '3T', allowed: 1T+IC, 2T"]),
    (
        "radio",
        nothing,
        {"radio": {"flux_density": 100.0, "frequency": 1400.0, "spectral_index": -1.2}},
        ["radio.spectral_index: is -1.2", "greater than 0"],
    ),
]


@pytest.mark.parametrize(
    ("before", "keys", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_bad_input_is_refused_in_one_sentence(
    folder: Path, before: Callable[[], None], keys: dict[str, Any], words: list[str]
) -> None:
    before()
    with pytest.raises(IcflowError) as caught:
        check(observing(keys))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_good_input_is_accepted(folder: Path) -> None:
    check(observing())
    check(observing(background="none"))
    check(observing(background=None))


def test_validate_looks_into_the_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    tree["observations"] = {"mine": {**GIVEN, "energies": [1.0, 80.0]}}
    Path("config.yaml").write_text(yaml.safe_dump(tree))
    assert main(["validate"]) == 1
    assert "reach outside" in capsys.readouterr().err


def test_companions_are_those_that_the_spectrum_names(folder: Path) -> None:
    for suffix in ("rmf", "arf"):
        shutil.copy(f"resources/responses/nustar_fpma.{suffix}", ".")
    (module,) = read_observation("mine", observing(rmf=None, arf=None).observations["mine"])
    assert (module.rmf, module.arf) == (Path("nustar_fpma.rmf"), Path("nustar_fpma.arf"))
    (module,) = read_observation("mine", observing(arf="none").observations["mine"])
    assert module.arf is None


def test_every_file_counts(folder: Path) -> None:
    found = set(inputs.observation_digests(observing(), "mine"))
    assert found >= {"mine.pha", RMF, RMF.replace("rmf", "arf"), GIVEN["background"]}
    assert any("apec_v3.0.9" in path for path in found)


def test_a_background_spectrum_is_that_of_the_header_or_another_one(folder: Path) -> None:
    spectrum = read_spectrum("mine.pha")
    write_spectrum("mine_bkg.pha", replace(spectrum, counts=2 * spectrum.counts, backscal=3.0))
    keyword("BACKFILE", "mine_bkg.pha")()
    for given in ("file", "mine_bkg.pha"):
        config = observing(background=given)
        check(config)
        (files,) = read_observation("mine", config.observations["mine"])
        assert files.background is None and files.behind is not None
        assert files.behind.counts.sum() == 2 * spectrum.counts.sum()
        assert files.behind.backscal == 3.0
        # A change of it makes everything anew.
        assert "mine_bkg.pha" in inputs.observation_digests(config, "mine")


@pytest.mark.parametrize(
    ("given", "change", "reason"),
    [
        ("file", {}, "BACKFILE names no file; give one with observations.mine.background"),
        ("mine_bkg.pha", {"counts": np.ones(7, dtype=np.int64)}, "the channels 0 to 6"),
        ("mine_bkg.pha", {"backscal": None}, "BACKSCAL is missing"),
    ],
)
def test_a_background_spectrum_that_cannot_be_used_is_refused(
    folder: Path, given: str, change: dict[str, Any], reason: str
) -> None:
    spectrum = read_spectrum("mine.pha")
    if "counts" in change:
        change = change | {"channel": np.arange(len(change["counts"]))}
    made = replace(spectrum, **change)
    write_spectrum("mine_bkg.pha", replace(made, backscal=made.backscal or 1.0))
    if made.backscal is None:
        edit("mine_bkg.pha", lambda hdu: hdu.header.remove("BACKSCAL"))
    with pytest.raises(IcflowError, match=reason):
        check(observing(background=given))


def test_a_response_that_can_be_fetched_need_not_be_there(folder: Path) -> None:
    Path(RMF).unlink()
    check(observing())


def test_several_spectra_are_checked_one_by_one(folder: Path) -> None:
    shutil.copy("mine.pha", "other.pha")
    spectra = {
        "FPMB": {**{key: GIVEN[key] for key in ("rmf", "arf")}, "spectrum": "other.pha"},
        "FPMA": {key: GIVEN[key] for key in ("spectrum", "rmf", "arf", "background")},
    }
    keys = {"spectrum": None, "rmf": None, "arf": None, "background": None, "spectra": spectra}
    config = observing(keys)
    with pytest.raises(IcflowError, match=r"mine: mine\.pha and other\.pha hold the same counts"):
        check(config)
    edit("other.pha", lambda hdu: hdu.data["COUNTS"].__setitem__(200, 7))
    check(config)
    assert list(config.observations["mine"].modules()) == ["FPMA", "FPMB"]
    edit("other.pha", lambda hdu: hdu.header.set("INSTRUME", "FPMB"))
    with pytest.raises(IcflowError, match=r"observations.mine.spectra.FPMB: .*another instrument"):
        check(config)
    with pytest.raises(IcflowError, match="give rmf with each of the spectra"):
        observing({**keys, "rmf": RMF})


def test_the_settings_survive_the_command_line() -> None:
    settings = observing(radio={"flux_density": 1.0, "frequency": 1.0, "spectral_index": 1.0})
    observing_settings = settings_of.observe(settings, "mine")
    text = observing_settings.json_text()
    assert configuration.from_json(settings_of.ObserveSettings, text) == observing_settings
    assert copy.copy(observing_settings).models.keys() == {"1T", "2T", "1T+IC", "2T+IC"}


# --- bins ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rmf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Ten channels of 1 keV from 1 to 11 keV."""
    from scipy.sparse import csr_array

    from icflow.ogip.response import Rmf

    low = np.arange(1.0, 11.0)
    matrix = csr_array(np.eye(10))
    path = tmp_path_factory.mktemp("rmf") / "ten.rmf"
    write_rmf(path, Rmf(low, low + 1, matrix, np.arange(10), low, low + 1))
    return read_rmf(path)


def spectrum_of(grouping: list[int] | None, quality: list[int] | None = None) -> Spectrum:
    flags = [None if f is None else np.array(f) for f in (grouping, quality)]
    return Spectrum(
        np.arange(10), np.full(10, 30), 1.0, path="x.pha", grouping=flags[0], quality=flags[1]
    )


def bins(*arguments: Any) -> list[tuple[int, int]]:
    return [tuple(map(int, pair)) for pair in zip(*observed_groups(*arguments), strict=True)]


def test_the_grouping_of_the_file_is_respected_or_overridden(rmf: Any) -> None:
    spectrum = spectrum_of([1, -1, 1, -1, -1, 1, 1, 1, -1, -1])
    assert bins(spectrum, rmf, 1.0, 12.0, None) == [(0, 2), (2, 5), (5, 6), (6, 7), (7, 10)]
    assert bins(spectrum, rmf, 1.0, 12.0, 60) == [(k, k + 2) for k in range(0, 10, 2)]
    assert bins(spectrum, rmf, 2.0, 9.0, None) == [(2, 5), (5, 6), (6, 7)]


def test_bad_channels_are_left_out_and_good_ones_kept(rmf: Any) -> None:
    quality = [0, 0, 0, 5, 0, 0, 1, 0, 2, 2]
    spectrum = spectrum_of([1, -1, 1, -1, -1, 1, 1, 1, -1, -1], quality)
    # As XSPEC after `ignore bad`: good channels of a group with bad ones stay, by themselves.
    good = [(0, 2), (2, 3), (4, 5), (5, 6), (7, 8)]
    assert bins(spectrum, rmf, 1.0, 12.0, None) == good
    # Without GROUPING, quality 2, which a last group with too few counts has, is good.
    assert bins(spectrum, rmf, 1.0, 12.0, 60) == [(0, 2), (2, 3), (4, 6), (7, 9), (9, 10)]
    with pytest.raises(IcflowError, match=r"x.pha: every channel .* has bad QUALITY"):
        bins(spectrum_of(None, [1] * 10), rmf, 1.0, 12.0, None)
