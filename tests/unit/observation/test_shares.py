"""What spectra see of a background: numbers, and images summed over regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from icflow.errors import IcflowError
from icflow.models.background import BackgroundComponent
from icflow.models.expression import parse
from icflow.observation.shares import read_shares, shares_of, sum_over
from icflow.ogip.spectrum import Spectrum

N = 5


def component(name: str, detectors: tuple[float, ...] = ()) -> BackgroundComponent:
    return BackgroundComponent(name, parse("powerlaw"), {}, "source", None, detectors=detectors)


def spectrum(counts: np.ndarray, path: str = "a.pha", **more: object) -> Spectrum:
    given = {"exposure": 1e4, "instrument": "A", "path": path, **more}
    return Spectrum(channel=np.arange(N), counts=counts, **given)  # type: ignore[arg-type]


UNEVEN = component("aperture", (1.0, 1.0, 2.0, 4.0))
STEEP = component("steep")
COUNTS = np.ones(N, dtype=int)


def test_shares_are_backscal_detectors_or_given() -> None:
    pair = [spectrum(COUNTS, "d/a.pha", backscal=0.2), spectrum(COUNTS, "b.pha", backscal=0.1)]
    shares, origins = shares_of(pair, [UNEVEN, STEEP], {})
    assert shares == [dict.fromkeys(("aperture", "steep"), s) for s in (0.2, 0.1)]
    assert set(origins.values()) == {"BACKSCAL"}
    seen = {"a.pha": {"detectors": [1.0, 0.5, 0.0, 0.0]}, "b.pha": {"detectors": [0.0, 0, 0, 1.0]}}
    shares, origins = shares_of(pair, [UNEVEN, STEEP], seen)
    assert [s["aperture"] for s in shares] == pytest.approx([1.5 / 8, 0.5])
    assert [s["steep"] for s in shares] == pytest.approx([0.375, 0.25])
    given = {"d/a.pha": {"aperture": 3.0}, "b.pha": {"aperture": 2.0}}
    shares, origins = shares_of(pair, [UNEVEN, STEEP], given)
    assert [list(s.values()) for s in shares] == [[3.0, 0.2], [2.0, 0.1]]
    assert origins == {"aperture": "aperture", "steep": "BACKSCAL"}


def test_regions_of_unknown_size_are_refused() -> None:
    for scale, words in ((None, "is missing"), (np.ones(N), "varies with the channel")):
        member = spectrum(COUNTS, backscal=scale)
        with pytest.raises(IcflowError, match=rf"a\.pha: BACKSCAL {words}, by .* --regions"):
            shares_of([member], [UNEVEN], {})
        assert shares_of([member], [UNEVEN], {"a.pha": {"aperture": 2.0}})[0] == [{"aperture": 2.0}]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"a.pha": {"aperture": 2.0}}, r"b\.pha: the share of aperture is from BACKSCAL, and from"),
        ({"a.pha": {"apertur": 2.0}}, r"no background component apertur; did you mean aperture\?"),
        ({"a.pha": {"detectors": [1.0, 1.0]}}, "detectors has 2 numbers, .* aperture 4; give one"),
        ({"a.pha": {"detectors": [0.0] * 4}}, "sees nothing of the background component aperture"),
        ({"a.pha": {"aperture": [1.0]}}, r"aperture is \[1\.0\]; give one number"),
    ],
)
def test_shares_that_do_not_suit_are_refused(
    given: dict[str, dict[str, float]], words: str
) -> None:
    pair = [spectrum(COUNTS, "a.pha"), spectrum(COUNTS, "b.pha")]
    with pytest.raises(IcflowError, match=words):
        shares_of(pair, [UNEVEN], given)


def test_a_file_of_shares(tmp_path: Path) -> None:
    path = tmp_path / "regions.yaml"
    path.write_text("a.pha: {detectors: [1, 0.5, 0, 0]}\nb.pha: {aperture: 0.08}\n")
    assert read_shares(path) == {
        "a.pha": {"detectors": [1, 0.5, 0, 0]},
        "b.pha": {"aperture": 0.08},
    }
    path.write_text("a.pha: {detectors: [1, -0.5]}\n")
    with pytest.raises(IcflowError, match=r"regions\.yaml: a\.pha\.detectors.*-0\.5"):
        read_shares(path)
    with pytest.raises(IcflowError, match="cannot be read"):
        read_shares(tmp_path / "none.yaml")


# --- images and regions --------------------------------------------------------------------

# Pixels of 0.001 degree about the centre, (10, 10) from 0.
SCALE = 0.001


def write_image(path: Path, values: np.ndarray) -> None:
    header = fits.Header()
    for axis, kind, centre in ((1, "RA---TAN", 150.0), (2, "DEC--TAN", 0.0)):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, centre
        header[f"CRPIX{axis}"], header[f"CDELT{axis}"] = 11.0, SCALE * (1 if axis == 2 else -1)
        header[f"CUNIT{axis}"] = "deg"
    fits.PrimaryHDU(values, header).writeto(path)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    y, x = np.mgrid[:21, :21]
    write_image(tmp_path / "flat.fits", np.ones((21, 21)))
    write_image(tmp_path / "left.fits", (x < 10).astype(float))
    write_image(tmp_path / "slope.fits", y.astype(float))
    return tmp_path


@pytest.mark.parametrize(
    ("region", "pixels"),
    [
        ('fk5\ncircle(150.0,0.0,7.5")', 13),  # radius 2.08 pixels
        ('fk5\nbox(150.0,0.0,18",10.8",0)', 15),  # 5 by 3
        ("image\nbox(11,11,5.5,3.5,0)", 15),
        ("image\nbox(11,11,5.5,3.5,0)\n-circle(11,11,0.5)", 14),
        ("image\nbox(11,11,5.5,3.5,0)\n-circle(11,11,0.5)\ncircle(11,11,0.5)", 15),
        ("image\nbox(11,11,5.5,3.5,0)\nbox(11,12,5.5,3.5,0)", 20),
        ("image\npolygon(9.5,9.5,12.5,9.5,12.5,12.5,9.5,12.5)", 9),
        ("image\ncircle(500,500,3)", 0),
    ],
)
def test_pixels_are_inside_a_region_by_their_centres(
    images: Path, region: str, pixels: int
) -> None:
    (images / "a.reg").write_text(f"# Region file format: DS9\n{region}\n")
    assert sum_over(images / "flat.fits", images / "a.reg") == (pixels, 441)


def test_images_are_fractions_of_detectors_and_sums_of_maps(images: Path) -> None:
    (images / "a.reg").write_text("image\nbox(9,11,5.5,3.5,0)\n")
    (images / "regions.yaml").write_text(
        "a.pha: {region: a.reg, detectors: [left.fits, 0.5], aperture: slope.fits}\n"
    )
    # Of 15 pixels, columns 6 to 10, 12 are left of column 10; rows are 9, 10 and 11.
    assert read_shares(images / "regions.yaml") == {
        "a.pha": {"detectors": [pytest.approx(12 / 210), 0.5], "aperture": 150.0}
    }


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{aperture: slope.fits}", r"aperture: slope\.fits is an image; give the `region`"),
        ("{region: none.reg, aperture: slope.fits}", r"none\.reg: not a region that can be read"),
        ("{region: text.reg, aperture: slope.fits}", r"text\.reg: not a region that can be read"),
        ("{region: a.reg, aperture: none.fits}", r"none\.fits: not a FITS image"),
        ("{region: a.reg, aperture: a.reg}", r"a\.reg: not a FITS image"),
        ("{region: a.reg, aperture: zero.fits}", r"zero\.fits: the image is empty"),
        ("{region: a.reg, aperture: table.fits}", r"table\.fits: not a FITS image"),
    ],
)
def test_images_and_regions_that_cannot_be_used(images: Path, entry: str, words: str) -> None:
    (images / "a.reg").write_text("image\ncircle(11,11,3)\n")
    (images / "text.reg").write_text("image\nflower(11,11,3)\n")
    write_image(images / "zero.fits", np.zeros((21, 21)))
    fits.PrimaryHDU().writeto(images / "table.fits")
    (images / "regions.yaml").write_text(f"a.pha: {entry}\n")
    with pytest.raises(IcflowError, match=words) as error:
        read_shares(images / "regions.yaml")
    assert "\n" not in str(error.value)
