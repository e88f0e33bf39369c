"""Reconstructions of spectra by a trained network, and their errors."""

from __future__ import annotations

import numpy as np
import torch

from icflow.networks.dense import DenseAutoencoder, deviance
from icflow.networks.network import PublishedAutoencoder
from icflow.typing import Floats, Indices, Singles

BATCH = 150
LEAST = 0.1  # expected counts in a channel below which a reconstruction is taken to be at fault


def reconstruct(
    network: PublishedAutoencoder | DenseAutoencoder, rates: Singles
) -> tuple[Singles, Singles]:
    """Return reconstructions (n, n_input) and latents (n, n_latents) of spectra.

    Parameters
    ----------
    network : PublishedAutoencoder or DenseAutoencoder
        In evaluation mode, on a CPU.
    rates : (n, n_input) float32
        Spectra, counts/s/keV.
    """
    spectra, latents = [], []
    with torch.inference_mode():
        for batch in torch.from_numpy(rates).split(BATCH):
            reconstruction, code = network(batch)
            spectra.append(reconstruction.numpy())
            latents.append(code.numpy())
    return np.concatenate(spectra), np.concatenate(latents)


def reconstruction_error(rates: Singles, reconstruction: Singles, channels: Indices) -> Floats:
    """Return R_a (n,), the mean squared reconstruction error over some channels.

    Parameters
    ----------
    rates, reconstruction : (n, n_input) float32
        Spectra and their reconstructions, counts/s/keV.
    channels : (m,) int
        Input channels that count: 3 to 80 keV in Lin et al. (2024).

    Returns
    -------
    (n,) float
        (counts/s/keV)².
    """
    difference = rates[:, channels].astype(float) - reconstruction[:, channels]
    error: Floats = np.mean(difference**2, axis=1)
    return error


def reconstruction_deviance(
    rates: Singles, reconstruction: Singles, counts_per_rate: Singles, channels: Indices
) -> Floats:
    """Return the Poisson deviance (n,) of reconstructions, per channel, over some channels.

    Parameters
    ----------
    rates, reconstruction : (n, n_input) float32
        Spectra and their reconstructions, counts/s/keV. Where a reconstruction
        expects less than `LEAST` counts, or a negative number, it counts as that.
    counts_per_rate : (n_input,) float32
        Counts of a spectrum with a rate of one, s keV.
    channels : (m,) int
        Input channels that count.
    """
    scale = counts_per_rate[channels].astype(float)
    counts, expected = (
        torch.from_numpy(spectra[:, channels] * scale) for spectra in (rates, reconstruction)
    )
    result: Floats = deviance(counts, expected.clamp(min=LEAST)).numpy()
    return result
