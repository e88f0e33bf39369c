"""What spectra see of the components of a background: their shares, by which norms are scaled.

The share of a component is

- what is given for it, such as the sum of an aperture map over the region,
- or the mean of the fractions of the detectors that lie in the region, weighted with the norms of
  the component in each detector (``detectors`` of the background file),
- or BACKSCAL of the spectrum: the background is as bright everywhere in the field.

Only ratios of shares count, so any unit will do that all spectra of a module have in common.
Fractions and sums are numbers, or images that are summed over a region of ds9, such as nuskybgd
makes of detectors and aperture.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from pydantic import ConfigDict, TypeAdapter, ValidationError

from icflow.config import explain
from icflow.documents import read_yaml
from icflow.errors import IcflowError, did_you_mean
from icflow.models.background import BackgroundComponent, NotNegative
from icflow.ogip.spectrum import Spectrum
from icflow.typing import Booleans, Floats

DETECTORS, REGION = "detectors", "region"
Share = float | list[float]
# As a file states it: numbers, or names of images.
_Stated = NotNegative | str


# --- the file ----------------------------------------------------------------------------


def read_shares(path: Path) -> dict[str, dict[str, Share]]:
    """Read what spectra see: by spectrum, ``detectors`` or the shares of components.

    Names of images and of the ``region`` that they are summed over are relative to the file.

    Raises
    ------
    IcflowError
        If a file cannot be read, or holds something else.
    """
    tree = dict[str, dict[str, _Stated | list[_Stated]]]
    kind = TypeAdapter(tree, config=ConfigDict(strict=True))
    try:
        stated = kind.validate_python(read_yaml(path))
    except ValidationError as error:
        raise IcflowError(f"{path}: {explain(error)}") from None
    return {
        spectrum: {
            name: _measured(f"{path}: {spectrum}.{name}", path.parent, name, value, keys)
            for name, value in keys.items()
            if name != REGION
        }
        for spectrum, keys in stated.items()
    }


def _measured(
    key: str,
    folder: Path,
    name: str,
    value: _Stated | list[_Stated],
    keys: Mapping[str, _Stated | list[_Stated]],
) -> Share:
    """Return a share in numbers: images are summed over the region."""

    def number(part: _Stated) -> float:
        if not isinstance(part, str):
            return part
        region = keys.get(REGION)
        if not isinstance(region, str):
            raise IcflowError(f"{key}: {part} is an image; give the `region` to sum it over, too")
        inside, total = sum_over(folder / part, folder / region)
        return inside / total if name == DETECTORS else inside

    return [number(part) for part in value] if isinstance(value, list) else number(value)


def sum_over(image: Path, region: Path) -> tuple[float, float]:
    """Return the sum of an image over a region of ds9, and over all of it.

    Pixels count whose centres are inside. Shapes are taken in the order of the
    file, each adding or, with a minus, taking away its pixels.

    Raises
    ------
    IcflowError
        If image or region cannot be read, or the image is empty.
    """
    try:
        with fits.open(image) as units:
            unit = next(unit for unit in units if unit.data is not None and unit.data.ndim == 2)
            data, coordinates = np.asarray(unit.data, dtype=np.float64), WCS(unit.header)
    except (OSError, StopIteration, ValueError) as error:
        raise IcflowError(f"{image}: not a FITS image ({error or 'none in it'})") from None
    total = float(data.sum())
    if not total > 0:
        raise IcflowError(f"{image}: the image is empty; make it again")
    return float(data[mask_of(region, coordinates, data)].sum()), total


def mask_of(region: Path, coordinates: WCS, image: Floats) -> Booleans:
    """Return which pixels of an image are inside a region.

    Raises
    ------
    IcflowError
        If the region, or a shape of it, cannot be read.
    """
    from regions import Regions, SkyRegion  # takes long to import

    try:
        with warnings.catch_warnings(action="error", category=AstropyUserWarning):
            shapes = Regions.read(region, format="ds9")
    except Exception as error:  # of its own kind for every fault
        reason = " ".join(str(error).split())
        raise IcflowError(
            f"{region}: not a region that can be read ({reason}); save it with ds9 in fk5"
        ) from None
    inside = np.zeros(image.shape, dtype=bool)
    for shape in shapes:
        pixels = shape.to_pixel(coordinates) if isinstance(shape, SkyRegion) else shape
        mask = pixels.to_mask(mode="center").to_image(image.shape)
        if mask is not None:
            inside[mask > 0] = bool(shape.meta.get("include", True))
    return inside


# --- shares ------------------------------------------------------------------------------


def share_of(
    component: BackgroundComponent, spectrum: Spectrum, given: Mapping[str, Share]
) -> tuple[float, str]:
    """Return the share of a component that a spectrum sees, and what it was taken from.

    Raises
    ------
    IcflowError
        If what is given does not suit the component, or nothing is seen.
    """
    if component.name in given:
        share, origin = _number(given[component.name], component.name, spectrum), component.name
    elif DETECTORS in given:
        fractions, origin = np.atleast_1d(given[DETECTORS]), DETECTORS
        weights = np.array(component.detectors or [1.0] * fractions.size)
        if weights.size != fractions.size:
            raise IcflowError(
                f"{spectrum.path}: detectors has {fractions.size} numbers, and the background "
                f"component {component.name} {weights.size}; give one for each detector"
            )
        share = float(weights @ fractions / weights.sum())
    else:
        share, origin = _backscal(spectrum), "BACKSCAL"
    if not share > 0:
        raise IcflowError(
            f"{spectrum.path}: sees nothing of the background component {component.name} "
            f"({origin}); correct it, or leave the region out"
        )
    return share, origin


def _backscal(spectrum: Spectrum) -> float:
    if spectrum.backscal is None or isinstance(spectrum.backscal, np.ndarray):
        state = "is missing" if spectrum.backscal is None else "varies with the channel"
        raise IcflowError(
            f"{spectrum.path}: BACKSCAL {state}, by which norms are scaled to regions; say with "
            "--regions what the spectrum sees"
        )
    return spectrum.backscal


def _number(share: Share, name: str, spectrum: Spectrum) -> float:
    if isinstance(share, list):
        raise IcflowError(f"{spectrum.path}: {name} is {share}; give one number for a component")
    return share


def shares_of(
    spectra: Sequence[Spectrum],
    components: Sequence[BackgroundComponent],
    given: Mapping[str, Mapping[str, Share]],
) -> tuple[list[dict[str, float]], dict[str, str]]:
    """Return the shares that each of the spectra of a module sees, and what they were taken from.

    Parameters
    ----------
    given : mapping
        As of `read_shares`, by the path or the name of a spectrum.

    Raises
    ------
    IcflowError
        If shares of a component are in different units.
    """
    shares: list[dict[str, float]] = []
    origins: dict[str, str] = {}
    for spectrum in spectra:
        own = given.get(spectrum.path, given.get(Path(spectrum.path).name, {}))
        for name in own:
            if name != DETECTORS and name not in [c.name for c in components]:
                allowed = [DETECTORS, *(c.name for c in components)]
                raise IcflowError(
                    f"{spectrum.path}: there is no background component {name}"
                    f"{did_you_mean(name, allowed)} (allowed: {', '.join(allowed)})"
                )
        found = {c.name: share_of(c, spectrum, own) for c in components}
        for name, (_, origin) in found.items():
            if origins.setdefault(name, origin) != origin:
                raise IcflowError(
                    f"{spectrum.path}: the share of {name} is from {origin}, and from "
                    f"{origins[name]} for {spectra[0].path}; give the same for all spectra of "
                    f"{spectrum.instrument}"
                )
        shares.append({name: share for name, (share, _) in found.items()})
    return shares, origins
