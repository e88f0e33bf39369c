"""The network computes what plain layers compute, in the shapes of the paper."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from icflow.config import Architecture
from icflow.errors import IcflowError
from icflow.networks.network import (
    LONGEST_STRIDED,
    BatchNorm,
    DownStage,
    PublishedAutoencoder,
    TransposedConvolution,
)

PAPER = Architecture(widths=[4, 16, 32, 64, 128], dense=[500, 50], latents=4, kernel=3)


def image(n: int, channels: int, length: int) -> Tensor:
    """Random features (n, channels, 1, length) in channels-last memory."""
    x = torch.randn(n, channels, 1, length, generator=torch.Generator().manual_seed(1))
    return x.to(memory_format=torch.channels_last)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_shapes_of_the_paper() -> None:
    network = PublishedAutoencoder(PAPER, 2960).eval()
    lengths = []
    for stage in (network.stem, *network.down, *network.up):
        stage.register_forward_hook(lambda module, x, y: lengths.append(tuple(y.shape[1:])))
    with torch.inference_mode():
        reconstruction, latents = network(torch.rand(2, 2960))
    assert latents.shape == (2, 4)
    assert reconstruction.shape == (2, 2960)
    assert lengths == [
        (4, 1, 1480),
        (16, 1, 740),
        (32, 1, 370),
        (64, 1, 185),
        (128, 1, 93),
        (64, 1, 370),
        (32, 1, 740),
        (16, 1, 1480),
        (4, 1, 2960),
    ]


def test_number_of_parameters() -> None:
    """Counted by hand: weights of convolutions, two numbers per normalised channel, dense."""
    pairs = [(4, 16), (16, 32), (32, 64), (64, 128)]
    encoder = 1 * 4 * 3 + 2 * 4
    encoder += sum(3 * a * b + 3 * b * b + a * b + 6 * b for a, b in pairs)
    dense = 11904 * 500 + 500 + 500 * 50 + 50 + 50 * 4 + 4 + 4 * 23680 + 23680
    decoder = sum(3 * a * b + 3 * a * a + a * b + 8 * a for a, b in pairs) + 4 + 1
    assert count(PublishedAutoencoder(PAPER, 2960)) == encoder + dense + decoder == 6_266_531


@pytest.mark.parametrize("length", [32, 50, 61, 2960])
def test_any_length_comes_back(length: int) -> None:
    architecture = Architecture(widths=[4, 8, 16], dense=[], latents=3, kernel=5)
    reconstruction, latents = PublishedAutoencoder(architecture, length)(torch.rand(6, length))
    assert reconstruction.shape == (6, length)
    assert latents.shape == (6, 3)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_transposed_convolution_is_torchs(kernel: int) -> None:
    ours = TransposedConvolution(6, 4, kernel)
    x = image(3, 6, 11).requires_grad_()
    y = ours(x)
    plain = x.detach()[:, :, 0].clone().requires_grad_()
    weight = ours.weight.detach().clone().requires_grad_()
    expected = functional.conv_transpose1d(
        plain, weight, stride=2, padding=(kernel - 1) // 2, output_padding=1
    )
    torch.testing.assert_close(y[:, :, 0], expected)
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2))
    y[:, :, 0].backward(upstream)
    expected.backward(upstream)
    assert x.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(x.grad[:, :, 0], plain.grad)
    torch.testing.assert_close(ours.weight.grad, weight.grad)


@pytest.mark.parametrize("channels", [1, 4, 8, 16, 20])
@pytest.mark.parametrize("length", [7, 48])
def test_batch_normalisation_is_torchs(channels: int, length: int) -> None:
    ours, plain = BatchNorm(channels), nn.BatchNorm2d(channels)
    with torch.no_grad():
        for module in (ours, plain):
            module.weight.copy_(torch.linspace(0.5, 2, channels))
            module.bias.copy_(torch.linspace(-1, 1, channels))
    x = (image(6, channels, length) * 3 + 5).requires_grad_()
    other = x.detach().clone().requires_grad_()
    upstream = image(6, channels, length)
    for module, tensor in ((ours, x), (plain, other)):
        module(tensor).backward(upstream)
        assert tensor.grad is not None
    torch.testing.assert_close(ours(x), plain(other), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.bias.grad, plain.bias.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    torch.testing.assert_close(ours.eval()(x), plain.eval()(other))


@pytest.mark.parametrize("channels", [4, 16])
def test_normalisation_of_half_precision_is_in_single(channels: int) -> None:
    x = image(6, channels, 32).bfloat16()
    half, single = BatchNorm(channels), BatchNorm(channels)
    assert torch.equal(half(x), single(x.float()))
    assert torch.equal(half.running_var, single.running_var)


def test_network_is_that_of_plain_layers() -> None:
    """The whole of it, layer by layer as the paper has them, in training."""
    torch.manual_seed(3)
    ours = PublishedAutoencoder(Architecture(widths=[4, 8, 16], dense=[6], latents=2, kernel=3), 32)
    rates = torch.rand(5, 32)
    reconstruction, latents = ours(rates)
    convolve, up = functional.conv1d, functional.conv_transpose1d
    gelu = functional.gelu

    def norm(layer: BatchNorm, x: Tensor) -> Tensor:
        return functional.batch_norm(x, None, None, layer.weight, layer.bias, training=True)

    def flat(layer: nn.Conv2d) -> Tensor:
        return layer.weight[:, :, 0]

    x = norm(ours.stem[1], convolve(rates[:, None], flat(ours.stem[0]), stride=2, padding=1))
    for stage in ours.down:
        y = gelu(norm(stage.resize_norm, convolve(x, flat(stage.resize), stride=2, padding=1)))
        y = norm(stage.refine_norm, convolve(y, flat(stage.refine), padding=1))
        x = gelu(y + norm(stage.skip[1], convolve(x, flat(stage.skip[0]), stride=2)))
    x = x.transpose(1, 2).flatten(1)
    for layer in (ours.dense[0], ours.dense[2]):
        x = gelu(functional.linear(x, layer.weight, layer.bias))
    torch.testing.assert_close(latents, x)
    x = gelu(functional.linear(x, ours.expand.weight, ours.expand.bias))
    x = x.view(5, 8, 16).transpose(1, 2)
    for stage in ours.up:
        y = up(x, stage.resize.weight, stride=2, padding=1, output_padding=1)
        y = gelu(norm(stage.resize_norm, y))
        y = norm(stage.refine_norm, convolve(y, flat(stage.refine), padding=1))
        joined = norm(stage.skip[1], up(x, stage.skip[0].weight, stride=2, output_padding=1))
        x = gelu(norm(stage.again[0], gelu(y + joined)))
    x = convolve(x, flat(ours.output), ours.output.bias)[:, 0]
    torch.testing.assert_close(reconstruction, x, rtol=1e-4, atol=1e-4)


def test_impossible_shapes_are_refused() -> None:
    even = PAPER.model_copy(update={"kernel": 4})
    with pytest.raises(IcflowError, match=r"autoencoder\.architecture\.kernel is 4"):
        PublishedAutoencoder(even, 2960)
    with pytest.raises(IcflowError, match=r"selects 20 channels, fewer than the 2\^5"):
        PublishedAutoencoder(PAPER, 20)


def test_spectra_of_several_modules_are_longer_than_strided_kernels_allow() -> None:
    torch.manual_seed(1)
    stage = DownStage(4, 8, 3).eval()
    length = 2 * LONGEST_STRIDED
    x = image(2, 4, length)
    with torch.no_grad():
        torch.testing.assert_close(stage._joined(x), stage.skip(x))
    stage.train()
    for _ in range(3):
        stage(x).sum().backward()
    weight = stage.skip[0].weight
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()
