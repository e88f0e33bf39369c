"""What the autoencoders read: count rates, scaled labels, folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from icflow import seeds
from icflow.errors import IcflowError
from icflow.ogip.response import Rmf
from icflow.typing import AnyArray, Floats, Indices, Singles


@dataclass(frozen=True)
class Channels:
    """The channels of all modules of an instrument, one module after another.

    Attributes
    ----------
    e_min, e_max : (n_channels,) float
        Nominal energies, keV.
    module : (n_channels,) int
        Which module each belongs to, from 0.
    """

    e_min: Floats
    e_max: Floats
    module: Indices

    @classmethod
    def of(cls, responses: Sequence[Rmf]) -> Channels:
        """Return the channels of some responses."""
        sizes = [len(rmf.e_min) for rmf in responses]
        return cls(
            np.concatenate([rmf.e_min for rmf in responses]),
            np.concatenate([rmf.e_max for rmf in responses]),
            np.repeat(np.arange(len(sizes)), sizes),
        )

    def __getitem__(self, chosen: Indices) -> Channels:
        """Return some of the channels."""
        return Channels(self.e_min[chosen], self.e_max[chosen], self.module[chosen])


def select_channels(e_min: Floats, e_max: Floats, energies: Sequence[float]) -> Indices:
    """Return the indices of the channels whose centres lie within `energies`.

    Centres keep clear of the limits, so single-precision channel edges do not
    matter: 1.6 to 120 keV selects 2,960 channels of 0.04 keV of NuSTAR.

    Parameters
    ----------
    e_min, e_max : (n_channels,) float
        Nominal energies of the channels, keV.
    energies : pair of float
        Lower and upper limit, keV.

    Raises
    ------
    IcflowError
        If no channel is selected.
    """
    centre = 0.5 * (np.asarray(e_min, float) + np.asarray(e_max, float))
    channels = np.flatnonzero((centre > energies[0]) & (centre < energies[1]))
    if channels.size == 0:
        raise IcflowError(
            f"the energies {energies[0]:g} to {energies[1]:g} keV select no channel of the "
            f"response, which has {np.min(e_min):g} to {np.max(e_max):g} keV; widen them"
        )
    return channels


def input_rates(
    counts: AnyArray,
    exposure: float | Floats,
    e_min: Floats,
    e_max: Floats,
    energies: Sequence[float],
) -> Singles:
    """Return spectra as the networks take them: counts/s/keV.

    Parameters
    ----------
    counts : (n, n_channels) int
        Counts per channel.
    exposure : float or (n_channels,) float
        Exposure, s, of all channels or each.
    e_min, e_max : (n_channels,) float
        Nominal energies of the channels, keV.
    energies : pair of float
        Energies of the input, keV, as in `select_channels`.

    Returns
    -------
    (n, n_input) float32

    Raises
    ------
    IcflowError
        If no channel is selected, or `counts` has another number of channels or is negative.
    """
    if counts.shape[1] != len(e_min):
        raise IcflowError(
            f"the spectra have {counts.shape[1]} channels, the response {len(e_min)}; give the "
            "response that they were made with"
        )
    if counts.size and counts.min() < 0:
        raise IcflowError("a spectrum holds negative counts; simulate the dataset again")
    channels = select_channels(e_min, e_max, energies)
    rates: Singles = (
        counts[:, channels] / _counts_per_rate(exposure, e_min, e_max, channels)
    ).astype(np.float32)
    return rates


def counts_per_rate(
    exposure: float | Floats, e_min: Floats, e_max: Floats, energies: Sequence[float]
) -> Singles:
    """Return the counts (n_input,) of a spectrum with a rate of one: exposure times width, s keV.

    The parameters are those of `input_rates`.
    """
    channels = select_channels(e_min, e_max, energies)
    result: Singles = _counts_per_rate(exposure, e_min, e_max, channels).astype(np.float32)
    return result


def _counts_per_rate(
    exposure: float | Floats, e_min: Floats, e_max: Floats, channels: Indices
) -> Floats:
    width: Floats = np.asarray(e_max, float)[channels] - np.asarray(e_min, float)[channels]
    return np.broadcast_to(exposure, np.shape(e_min))[channels] * width


@dataclass(frozen=True)
class LabelScale:
    """Linear map of each label's range to [0, 1].

    Attributes
    ----------
    names : tuple of str
        Names of the labels.
    low, high : tuple of float
        Their ranges, in the labels' own units.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def of(cls, names: Sequence[str], values: Floats) -> LabelScale:
        """Return the scale set by the lowest and highest of `values`, (n, n_labels).

        Raises
        ------
        IcflowError
            If all values of a label are the same.
        """
        low, high = values.min(axis=0), values.max(axis=0)
        for name, lowest, highest in zip(names, low, high, strict=True):
            if not lowest < highest:
                raise IcflowError(
                    f"autoencoder.labels.{name}: all training spectra have the value {lowest:g}; "
                    "leave this label out"
                )
        return cls(tuple(names), tuple(low.tolist()), tuple(high.tolist()))

    def scaled(self, values: Floats) -> Singles:
        """Return labels (n, n_labels) on the scale of the latents."""
        low, high = np.array(self.low), np.array(self.high)
        result: Singles = ((values - low) / (high - low)).astype(np.float32)
        return result

    def physical(self, latents: AnyArray) -> Floats:
        """Return latents (n, n_labels) in the units of the labels."""
        low, high = np.array(self.low), np.array(self.high)
        result: Floats = low + np.asarray(latents, float) * (high - low)
        return result


@dataclass(frozen=True)
class Split:
    """Spectra of one fold, as sorted indices.

    Attributes
    ----------
    train : (n_train,) int
        Spectra that the network learns from.
    selection : (n_selection,) int
        Spectra that choose the epoch.
    holdout : (n_holdout,) int
        Spectra that choose the threshold.
    """

    train: Indices
    selection: Indices
    holdout: Indices

    def parts(self) -> dict[str, Indices]:
        """Return the parts by name."""
        return {"train": self.train, "selection": self.selection, "holdout": self.holdout}


def split(n: int, folds: int, fold: int, seed: int) -> Split:
    """Return one fold of the cross-validation.

    The spectra are permuted (the same way for every fold and network) and cut into
    `folds` parts. Part `fold` is held out for the threshold, the next one (after the
    last, the first) chooses the epoch, the others train.

    Raises
    ------
    IcflowError
        If there are too few spectra or folds, or no such fold.
    """
    if folds < 3 or n < folds:
        raise IcflowError(
            f"{n} spectra cannot be split into {folds} folds; give at least 3 folds and as many "
            "spectra as folds (autoencoder.training)"
        )
    if not 0 <= fold < folds:
        raise IcflowError(f"there is no fold {fold}, allowed: 0 to {folds - 1}")
    order = np.random.default_rng(seeds.number(seed, "split")).permutation(n)
    parts = [np.sort(part) for part in np.array_split(order, folds)]
    following = (fold + 1) % folds
    rest = [part for number, part in enumerate(parts) if number not in (fold, following)]
    return Split(np.sort(np.concatenate(rest)), parts[following], parts[fold])
