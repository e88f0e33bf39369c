"""What responses and observed spectra hold, and whether it belongs together.

It takes seconds to read, so only ``icflow validate`` asks; jobs find out when
they read the same files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from icflow import brightness, inputs
from icflow import settings as settings_of
from icflow.brightness import Sight
from icflow.config import Config, Module, Systematics
from icflow.config.checks import given_systematics
from icflow.errors import IcflowError
from icflow.models.background import read_background
from icflow.networks.data import Channels, select_channels
from icflow.ogip.matching import matched
from icflow.ogip.noticed import check_covered
from icflow.ogip.response import Rmf, read_arf, read_rmf

NOTHING_WRONG = Systematics()


@contextmanager
def _naming(key: str) -> Iterator[None]:
    """Put the key before errors."""
    try:
        yield
    except IcflowError as error:
        raise IcflowError(f"{key}: {error}") from None


def check_responses(config: Config) -> None:
    """Check that responses can be read and have channels at the energies, if all are there."""
    if not all(Path(path).is_file() for path in inputs.input_files(config)):
        return  # Those that are not are fetched when the run starts.
    responses, sights = [], []
    for key, module in config.keyed_modules():
        with _naming(f"{key}.rmf"):
            rmf = read_rmf(module.rmf)
        with _naming(f"{key}.arf"):
            arf = None if module.arf is None else matched(rmf, read_arf(module.arf))[0]
        with _naming(f"{key}.background"):
            if module.background is not None:
                _check_background(module.background, rmf)
        _check_systematics(config, module)
        with _naming("fits.energies"):
            sights.append(Sight.of(key, module, rmf, arf, config.fits))
        responses.append(rmf)
    brightness.check(config, sights)
    if not config.observations:  # which have responses of their own
        _check_flux(config, responses, "the response of the instrument")
    channels = Channels.of(responses)
    with _naming("autoencoder.energies"):
        inside = select_channels(channels.e_min, channels.e_max, config.autoencoder.energies)
        _check_length(config, len(inside))
    with _naming("detection.score_energies"):
        scored = channels[inside]
        select_channels(scored.e_min, scored.e_max, config.detection.score_energies)


def _check_systematics(config: Config, module: Module) -> None:
    """Check that what may be wrong with a module stays within its response and its background."""
    for key, systematics, modules in given_systematics(config):
        if module in modules and systematics != NOTHING_WRONG:
            # What the engine needs takes seconds to import.
            from icflow.engines.embedded.calibration import check_within

            check_within(module.model_copy(update={"systematics": systematics}), key)


def _check_background(path: str, rmf: Rmf) -> None:
    for component in read_background(path):
        source = rmf
        if isinstance(component.redistribution, Path):
            source = read_rmf(component.redistribution)
            if len(source.channel) != len(rmf.channel):
                raise IcflowError(
                    f"{component.redistribution}: has {len(source.channel)} channels, {rmf.path} "
                    f"{len(rmf.channel)}; give one with the same channels"
                )
        if component.redistribution != "identity":
            component.effective_area(source.energies)


def _check_length(config: Config, length: int) -> None:
    """Check that published networks can halve their input as often as they do."""
    stages = len(config.autoencoder.architecture.widths)
    kinds = {network.kind for network in config.autoencoder.networks.values()}
    if "published" in kinds and length < 2**stages:
        raise IcflowError(
            f"selects {length} channels, fewer than the 2^{stages} that "
            "autoencoder.architecture.widths halves; select more or give fewer widths"
        )


def _check_flux(config: Config, responses: Sequence[Rmf], by: str) -> None:
    """Check that the energies of the IC flux are seen by a module, so that no limit is a guess."""
    edges = [edge for rmf in responses for edge in (rmf.e_min.min(), rmf.e_max.max())]
    low, high = config.observe.ic_energies
    check_covered(low, high, (min(edges), max(edges)), by, "them", "observe.ic_energies: ")


def check_spectra(config: Config, name: str) -> None:
    """Check that observed spectra, their responses and the energies belong together.

    What may be wrong with them has to be of these responses and backgrounds too.
    """
    from icflow.observation.engine import check_systematics
    from icflow.ogip.observation import check_companions, observed_groups, read_observation

    settings = settings_of.observe(config, name)
    low, high = settings.energies
    responses = []
    for files in read_observation(name, settings.observation):
        if not all(path.is_file() for path in files.files):
            continue
        checked, rmf, _ = check_companions(files, low, high)
        own = files.spectrum.grouping is not None and settings.observation.group_min is None
        with _naming(files.key):
            minimum = None if own else settings.group_min
            observed_groups(checked.spectrum, rmf, low, high, minimum)
        check_systematics(checked, config.observe.systematics)
        responses.append(rmf)
    if responses:
        _check_flux(config, responses, f"the response of observations.{name}")
