"""The residual convolutional autoencoder of Lin et al. (2024).

Stages, kernels, strides and the order of the layers follow the paper and the
authors' public code (https://github.com/shengclin/iccae). Layers are written so that
a CPU runs them fast; what they compute is what the plain layers compute:

- Inside the network a spectrum is an image of height 1 in channels-last memory,
  for which convolutions and batch normalisation have their fastest kernels.
- A transposed convolution of stride 2 is an ordinary convolution that gives the
  even and the odd output bins as separate channels; in channels-last memory they
  then lie side by side already.
- Batch normalisation over few channels folds bins into channels to fill the
  vector registers.
- Convolutions that batch normalisation follows have no bias: it would cancel.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from icflow.config import Architecture
from icflow.errors import IcflowError
from icflow.networks.dense import DenseAutoencoder, layers
from icflow.settings import TrainSettings

# Columns that a reduction over rows handles well at once.
_LANES = 64
# Bins beyond which oneDNN's gradient of a convolution of width 1 and stride 2 writes outside of its
# memory (from 1,600 with 4 channels); there every second bin is taken first, which is the same.
LONGEST_STRIDED = 1480


def create(settings: TrainSettings, length: int) -> PublishedAutoencoder | DenseAutoencoder:
    """Return a new network of the kind that the settings name, for spectra of some length.

    Raises
    ------
    IcflowError
        As `PublishedAutoencoder`.
    """
    if settings.kind == "dense":
        return DenseAutoencoder(settings.architecture.latents, length)
    return PublishedAutoencoder(settings.architecture, length)


class PublishedAutoencoder(nn.Module):
    """Encoder from a spectrum to latents, decoder from latents to a spectrum.

    Encoder: a convolution and ``len(widths) - 1`` residual stages, each of stride
    2, then dense layers. Decoder: a dense layer, ``len(widths) - 1`` residual
    transposed stages of stride 2 with the widths in reverse, and a convolution of
    width 1 to one channel. GELU follows every layer, the latents too, but two: the
    output is linear, the first convolution is only normalised.

    Parameters
    ----------
    architecture : Architecture
    length : int
        Number of input channels.

    Raises
    ------
    IcflowError
        If the kernel width is even or the spectra are too short.
    """

    def __init__(self, architecture: Architecture, length: int) -> None:
        super().__init__()
        kernel, widths = architecture.kernel, architecture.widths
        if kernel % 2 == 0:
            raise IcflowError(
                f"autoencoder.architecture.kernel is {kernel}; kernels have a centre, so give an "
                "odd number"
            )
        stages = len(widths)
        if length < 2**stages:
            raise IcflowError(
                f"autoencoder.energies selects {length} channels, fewer than the 2^{stages} that "
                "autoencoder.architecture.widths halves; select more or give fewer widths"
            )
        self.length = length
        self.widest = widths[-1]
        self.coarse = math.ceil(length / 2 ** (stages - 1))
        self.stem = nn.Sequential(_convolution(1, widths[0], kernel, 2), BatchNorm(widths[0]))
        pairs = list(itertools.pairwise(widths))
        self.down = nn.Sequential(*[DownStage(a, b, kernel) for a, b in pairs])
        units = [math.ceil(length / 2**stages) * widths[-1], *architecture.dense]
        units.append(architecture.latents)
        self.dense = nn.Sequential(*layers(*units), nn.GELU())
        self.expand = nn.Linear(architecture.latents, self.coarse * widths[-1])
        self.up = nn.Sequential(*[UpStage(b, a, kernel) for a, b in reversed(pairs)])
        self.output = nn.Conv2d(widths[0], 1, 1)

    def encode(self, rates: Tensor) -> Tensor:
        """Return the latents (n, latents) of spectra (n, length)."""
        # (n, 1, 1, length), strided as channels-last.
        features = self.down(self.stem(rates[:, None, :, None].permute(0, 1, 3, 2)))
        latents: Tensor = self.dense(features.permute(0, 2, 3, 1).flatten(1))
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Return the spectra (n, length) of latents (n, latents)."""
        features = functional.gelu(self.expand(latents))
        features = _channels_last(features.view(-1, self.coarse, self.widest))
        spectra: Tensor = self.output(self.up(features))
        return spectra.flatten(1)[:, : self.length]

    def forward(self, rates: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions (n, length) and latents (n, latents)."""
        latents = self.encode(rates)
        return self.decode(latents), latents

    def adapt(self, rates: Tensor, counts_per_rate: Tensor) -> None:
        """Do nothing: rates are taken as they are."""

    def misfit(self, reconstruction: Tensor, rates: Tensor) -> Tensor:
        """Return the mean squared error of reconstructions."""
        return functional.mse_loss(reconstruction, rates)


class DownStage(nn.Module):
    """Residual stage that halves the length.

    Convolution of stride 2, normalisation, GELU, convolution, normalisation; the
    input joins through a convolution of width 1 and stride 2 with normalisation;
    GELU.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.resize = _convolution(inputs, outputs, kernel, 2)
        self.resize_norm = BatchNorm(outputs)
        self.refine = _convolution(outputs, outputs, kernel)
        self.refine_norm = BatchNorm(outputs)
        self.skip = nn.Sequential(_convolution(inputs, outputs, 1, 2), BatchNorm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, 1, length) to (n, outputs, 1, new length)."""
        y = functional.gelu(self.resize_norm(self.resize(x)))
        y = self.refine_norm(self.refine(y))
        return functional.gelu(y + self._joined(x))

    def _joined(self, x: Tensor) -> Tensor:
        """Return the input as it joins: every second bin of it."""
        if x.shape[3] <= LONGEST_STRIDED:
            joined: Tensor = self.skip(x)
            return joined
        convolution, norm = self.skip
        assert isinstance(convolution, nn.Conv2d)
        thinned: Tensor = norm(functional.conv2d(x[..., ::2], convolution.weight))
        return thinned


class UpStage(nn.Module):
    """Residual stage that doubles the length.

    Transposed convolution of stride 2, normalisation, GELU, convolution,
    normalisation; the input joins through a transposed convolution of width 1 with
    normalisation; GELU; once more normalisation and GELU.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.resize = TransposedConvolution(inputs, outputs, kernel)
        self.resize_norm = BatchNorm(outputs)
        self.refine = _convolution(outputs, outputs, kernel)
        self.refine_norm = BatchNorm(outputs)
        self.skip = nn.Sequential(TransposedConvolution(inputs, outputs, 1), BatchNorm(outputs))
        self.again = nn.Sequential(BatchNorm(outputs), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, 1, length) to (n, outputs, 1, new length)."""
        y = functional.gelu(self.resize_norm(self.resize(x)))
        y = self.refine_norm(self.refine(y))
        joined: Tensor = self.again(functional.gelu(y + self.skip(x)))
        return joined


class TransposedConvolution(nn.Module):
    """Transposed convolution of stride 2 that doubles the length, without bias.

    The same as ``conv_transpose1d(x, weight, stride=2, padding=p, output_padding=1)``
    with odd kernel k and p = (k - 1) / 2. There input bin i reaches output bin
    2i - p + t with weight t. So output bin 2q + r, r = 0 or 1, is the sum over d of
    weight[p + r - 2d] times input bin q + d: two ordinary convolutions.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        pad = (kernel - 1) // 2
        self.outputs = outputs
        self.before, self.after = pad // 2, (pad + 1) // 2
        # Scaled as torch initialises its own transposed convolution.
        bound = 1 / math.sqrt(outputs * kernel)
        self.weight = nn.Parameter(torch.empty(inputs, outputs, kernel).uniform_(-bound, bound))
        taps = [
            [pad + phase - 2 * offset for offset in range(-self.before, self.after + 1)]
            for phase in (0, 1)
        ]
        # Taps outside of the kernel point to the zero that is appended to it.
        taps = [[tap if 0 <= tap < kernel else kernel for tap in row] for row in taps]
        self.register_buffer("taps", torch.tensor(taps), persistent=False)
        self.taps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, inputs, 1, length) to (n, outputs, 1, 2 length)."""
        padded = functional.pad(self.weight, (0, 1))
        # (inputs, outputs, 2, taps) to (2, outputs, inputs, taps): even bins, then odd bins.
        phases = padded[:, :, self.taps].permute(2, 1, 0, 3).flatten(0, 1)
        if self.after:  # Padding by nothing copies too.
            x = functional.pad(x, (self.before, self.after))
        y = functional.conv2d(x, phases[:, :, None, :])
        n, _, _, length = y.shape
        # Memory is (n, bin, phase, channel): in that order already, so nothing is copied.
        return _channels_last(y.permute(0, 2, 3, 1).reshape(n, 2 * length, self.outputs))


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that is fast for few channels on a CPU too."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (n, channels, 1, length); update the running statistics in training."""
        # Statistics are of single precision, whatever the convolution before computes in.
        x = x.float() if x.dtype == torch.bfloat16 else x
        fold = _LANES // self.num_features
        rows = x.shape[0] * x.shape[3]
        while fold > 1 and rows % fold:
            fold //= 2
        # From 16 channels on torch's own kernel is at least as fast.
        if not self.training or x.device.type != "cpu" or self.num_features >= 16 or fold <= 1:
            return super().forward(x)
        return self._narrow(x, rows, fold)

    def _narrow(self, x: Tensor, rows: int, fold: int) -> Tensor:
        channels = self.num_features

        def per_channel(column_means: Tensor) -> Tensor:
            return column_means.view(fold, channels).mean(0)

        table = x.permute(0, 2, 3, 1).reshape(rows // fold, fold * channels)
        mean = per_channel(table.mean(0))
        centred = table - mean.repeat(fold)
        variance = per_channel((centred * centred).mean(0))
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (rows / (rows - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y = torch.addcmul(self.bias.repeat(fold), centred, scale.repeat(fold))
        return _channels_last(y.view(x.shape[0], x.shape[3], channels))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Return a convolution along the spectrum that keeps its length up to the stride."""
    return nn.Conv2d(
        inputs, outputs, (1, kernel), (1, stride), padding=(0, (kernel - 1) // 2), bias=False
    )


def _channels_last(x: Tensor) -> Tensor:
    """View (n, length, channels) as (n, channels, 1, length)."""
    return x[:, None].permute(0, 3, 1, 2)
