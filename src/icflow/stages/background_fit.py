"""Stage: the background of a source's spectra, from source-free regions of the same modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from icflow.config import ObservedSpectrum
from icflow.engines.embedded.folding import Response
from icflow.errors import IcflowError, did_you_mean
from icflow.models import library
from icflow.models.background import (
    BackgroundComponent,
    of_each,
    read_background,
    write_background,
)
from icflow.observation.regions import (
    BAD_FIT,
    FittedNorms,
    Region,
    fit_norms,
    scaled,
)
from icflow.observation.shares import read_shares, shares_of
from icflow.ogip.observation import Checked, check_companions, read_files
from icflow.ogip.spectrum import Spectrum, read_spectrum
from icflow.settings import BackgroundFitSettings

# The ratio of the norms in two detectors from which on it matters which of them a region covers.
UNEVEN = 1.2


@dataclass(frozen=True)
class Setup:
    """What is fitted, and what it is for.

    Attributes
    ----------
    regions : list of Region
    sources : list of Spectrum
        Each of a module that has a region.
    shares : list of dict
        Of each source, by component.
    files : dict of Path
        By module, the background file with the shapes.
    components : dict
        By module, as they are before the fit.
    origins : dict
        By module and component, where shares are from.
    notes : list of str
        What is odd about the files, a sentence each.
    """

    regions: list[Region]
    sources: list[Spectrum]
    shares: list[dict[str, float]]
    files: dict[str, Path]
    components: dict[str, tuple[BackgroundComponent, ...]]
    origins: dict[str, dict[str, str]]
    notes: list[str]


def run(
    settings: BackgroundFitSettings,
    spectra: Sequence[Path],
    source: Sequence[Path],
    background: Sequence[Path],
    output: Path,
    regions: Path | None = None,
) -> Iterator[str]:
    """Fit the norms, write the background file of each source spectrum, and yield what was found.

    Parameters
    ----------
    spectra : sequence of Path
        Of source-free regions.
    background : sequence of Path
        Background files with the shapes: one for all modules, or one for each of `source`.
    regions : Path, optional
        What each spectrum sees of the components, instead of BACKSCAL.

    Raises
    ------
    IcflowError
        If a file cannot be read, modules do not match, or the fit fails.
    """
    library.configure(settings.atomic_data)
    setup = _setup(settings, spectra, source, background, regions)
    fitted = fit_norms(setup.regions, setup.components, settings.energies, settings.each_model)
    yield from _report(setup, fitted)
    paths = of_each(output, [Path(spectrum.path) for spectrum in setup.sources])
    for spectrum, shares, path in zip(setup.sources, setup.shares, paths, strict=True):
        module = spectrum.instrument
        components = [
            scaled(fitted.of(module, component), shares[component.name])
            for component in setup.components[module]
        ]
        head = [
            f"Background of {spectrum.path}, from {', '.join(map(str, spectra))}.",
            f"Shapes of {setup.files[module]}; norms fitted between "
            f"{settings.energies[0]:g} and {settings.energies[1]:g} keV and scaled",
            f"by {_words(setup.origins[module])}. `range` is the 90 % error of the norm.",
        ]
        write_background(path, f"{spectrum.path}, fitted", components, head)
        yield f"{path}: background of {spectrum.path}"


def _setup(
    settings: BackgroundFitSettings,
    spectra: Sequence[Path],
    source: Sequence[Path],
    background: Sequence[Path],
    given: Path | None,
) -> Setup:
    """Read and check everything that the fit needs."""
    sources = list(map(read_spectrum, source))
    fields = [_checked(settings, path) for path in spectra]
    _check_modules(sources, [field.files.spectrum for field in fields])
    files = _shapes_of(sources, background)
    known = {} if given is None else read_shares(given)
    _check_names(known, [*spectra, *source], given)
    components = {module: read_background(path) for module, path in files.items()}
    shares: dict[str, dict[str, float]] = {}
    origins: dict[str, dict[str, str]] = {}
    everything = [*(field.files.spectrum for field in fields), *sources]
    for module, own in components.items():
        members = [spectrum for spectrum in everything if spectrum.instrument == module]
        seen, origins[module] = shares_of(members, own, known)
        shares |= {s.path: share for s, share in zip(members, seen, strict=True)}
    regions = [
        Region(s, s.instrument, Response(field.rmf, None), shares[s.path])
        for field in fields
        for s in [field.files.spectrum]
    ]
    notes = [note for field in fields for note in (*field.files.spectrum.notes, *field.rmf.notes)]
    return Setup(
        regions, sources, [shares[s.path] for s in sources], files, components, origins, notes
    )


def _checked(settings: BackgroundFitSettings, path: Path) -> Checked:
    """Read the spectrum of a region with its response, by the checks of every fit."""
    asked = ObservedSpectrum(spectrum=str(path), rmf=settings.rmf, arf="none", background="none")
    low, high = settings.energies
    return check_companions(read_files(asked), low, high)


def _shapes_of(sources: Sequence[Spectrum], background: Sequence[Path]) -> dict[str, Path]:
    """Return the background file with the shapes for each module."""
    if len(background) not in (1, len(sources)):
        raise IcflowError(
            f"--background names {len(background)} files and --source {len(sources)}; give one "
            "background file for all, or one for each"
        )
    files: dict[str, Path] = {}
    for number, spectrum in enumerate(sources):
        path = background[number % len(background)]
        if files.setdefault(spectrum.instrument, path) != path:
            raise IcflowError(
                f"{spectrum.path}: --background gives {spectrum.instrument} two files, "
                f"{files[spectrum.instrument]} and {path}; give one for a module"
            )
    return files


def _check_modules(sources: Sequence[Spectrum], fields: Sequence[Spectrum]) -> None:
    for spectra, others, lack in (
        (sources, fields, "no region has that; give one"),
        (fields, sources, "no --source has that; give the source's spectrum of that module"),
    ):
        modules = {other.instrument for other in others}
        for spectrum in spectra:
            if spectrum.instrument not in modules:
                name = spectrum.instrument or "missing"
                raise IcflowError(f"{spectrum.path}: its INSTRUME is {name}, and {lack}")


def _check_names(known: Mapping[str, object], paths: Sequence[Path], file: Path | None) -> None:
    allowed = {str(path) for path in paths} | {path.name for path in paths}
    for name in known:
        if name not in allowed:
            raise IcflowError(
                f"{file}: {name} is none of the spectra{did_you_mean(name, sorted(allowed))}"
            )


def _report(setup: Setup, fitted: FittedNorms) -> Iterator[str]:
    """Yield a table of the norms, how good the fit is, and what was assumed."""
    yield from (f"Note: {note}" for note in setup.notes)
    yield f"{'component':<24}{'counts in the regions':>22}  90 % error"
    for module, components in setup.components.items():
        for component in components:
            counts, reach = fitted.counts(module, component), fitted.of(module, component).range
            error = "" if reach is None else f"  {100 * reach:.3g} %"
            yield f"{module + '.' + component.name:<24}{counts:>22.1f}{error}"
    yield f"C-stat {fitted.minimum.cstat:.2f} for {len(fitted.data.counts)} channels"
    for number, region in enumerate(setup.regions):
        chi2, sigmas, channels = fitted.goodness(number)
        yield f"{region.spectrum.path}: Pearson's chi2 {chi2:.1f} for {channels} channels"
        if sigmas > BAD_FIT:
            yield (
                f"Warning: {region.spectrum.path} is {sigmas:.1f} sigma from a good fit: is the "
                "region free of sources, and are the shapes those of this module?"
            )
    for module, origins in setup.origins.items():
        yield f"{module}: norms are scaled by {_words(origins)}"
    uneven = [
        f"{module}.{component.name}"
        for module, components in setup.components.items()
        for component in components
        if setup.origins[module][component.name] == "BACKSCAL"
        and max(component.detectors, default=0) > UNEVEN * min(component.detectors, default=0)
    ]
    if uneven:
        yield (
            f"Note: some detectors see more of {', '.join(uneven)} than others, which BACKSCAL "
            "does not know; give --regions where regions cover the detectors unequally"
        )


def _words(origins: Mapping[str, str]) -> str:
    """Return what norms are scaled by, in words."""
    words = {"BACKSCAL": "BACKSCAL (as bright everywhere)", "detectors": "the detectors seen"}
    kinds: dict[str, list[str]] = {}
    for name, origin in origins.items():
        kinds.setdefault(words.get(origin, "given shares"), []).append(name)
    return ", ".join(f"{kind}: {' '.join(names)}" for kind, names in kinds.items())
