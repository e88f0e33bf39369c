"""A dense autoencoder of whitened counts that learns by their Poisson deviance.

A spectrum of ten million counts is known to a thousandth, and what tells two
plasmas from one is a matter of thousandths. So counts are stabilised (after the
transformation of Anscombe noise is the same in every channel), and the network
sees the principal components of the training spectra, each in units of its own
scatter: what varies little counts as much as what varies a lot.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

UNITS = (128, 128)  # of the encoder; those of the decoder in reverse
COMPONENTS = 40  # principal components that the encoder sees
GROUP = 4  # channels that it sees as one
LEAST_VARIANCE = 0.1  # of a principal component


class DenseAutoencoder(nn.Module):
    """Encoder from whitened counts to latents, decoder from latents to count rates.

    Parameters
    ----------
    latents : int
        Number of latents.
    length : int
        Number of input channels.
    """

    def __init__(self, latents: int, length: int) -> None:
        super().__init__()
        groups = -(-length // GROUP)
        components = min(COMPONENTS, groups)
        self.encoder = layers(components, *UNITS, latents)
        self.decoder = layers(latents, *reversed(UNITS), length)
        # What `adapt` finds in the training spectra.
        self.register_buffer("counts_per_rate", torch.ones(length))
        self.register_buffer("usual", torch.zeros(length))
        self.register_buffer("mean", torch.zeros(groups))
        self.register_buffer("whitening", torch.zeros(groups, components))
        self.counts_per_rate: Tensor
        self.usual: Tensor
        self.mean: Tensor
        self.whitening: Tensor

    def adapt(self, rates: Tensor, counts_per_rate: Tensor) -> None:
        """Find the whitening of training spectra.

        Parameters
        ----------
        rates : (n, length) Tensor
            The spectra, counts/s/keV.
        counts_per_rate : (length,) Tensor
            Counts of a spectrum with a rate of one, s keV.
        """
        self.counts_per_rate.copy_(counts_per_rate)
        self.usual.copy_(torch.log(rates.mean(0) + 1 / counts_per_rate))
        stabilised = self._stabilised(rates).double()
        self.mean.copy_(stabilised.mean(0))
        centred = stabilised - stabilised.mean(0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        # Noise has a variance of 1: one far below is that of a direction in which too few spectra
        # say nothing, and the next spectrum would lie far out.
        scatter = values.clamp(min=LEAST_VARIANCE).sqrt()
        chosen = slice(-self.whitening.shape[1], None)
        self.whitening.copy_(vectors[:, chosen] / scatter[chosen])

    def _stabilised(self, rates: Tensor) -> Tensor:
        counts = rates * self.counts_per_rate
        padded = nn.functional.pad(counts, (0, self.mean.shape[0] * GROUP - counts.shape[1]))
        grouped = padded.unflatten(1, (-1, GROUP)).sum(2)
        return 2 * torch.sqrt(grouped + 3 / 8)

    def encode(self, rates: Tensor) -> Tensor:
        """Return the latents (n, latents) of spectra (n, length)."""
        latents: Tensor = self.encoder((self._stabilised(rates) - self.mean) @ self.whitening)
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Return the spectra (n, length) of latents (n, latents)."""
        return torch.exp(self.usual + self.decoder(latents))

    def forward(self, rates: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions (n, length) and latents (n, latents)."""
        latents = self.encode(rates)
        return self.decode(latents), latents

    def misfit(self, reconstruction: Tensor, rates: Tensor) -> Tensor:
        """Return how badly spectra are reconstructed: the mean of ln(1 + deviance).

        The logarithm keeps the brightest spectra, whose deviance is the largest,
        from deciding alone.
        """
        scale = self.counts_per_rate
        return torch.log1p(deviance(rates * scale, reconstruction * scale)).mean()


def deviance(counts: Tensor, expected: Tensor) -> Tensor:
    """Return the Poisson deviance per channel (n,) of expected counts (n, channels).

    It is about 1 where nothing but noise tells the two apart.
    """
    ratio = torch.where(counts > 0, counts / expected, 1.0)
    return 2 * (expected - counts + counts * torch.log(ratio)).mean(1)


def layers(*units: int) -> nn.Sequential:
    """Return dense layers from so many units to so many, with GELU between them."""
    made: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(units):
        made += [nn.Linear(inputs, outputs), nn.GELU()]
    return nn.Sequential(*made[:-1])
