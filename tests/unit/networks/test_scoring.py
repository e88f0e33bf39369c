"""Reconstructions and their errors, where both are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import xlogy
from torch import Tensor, nn

from icflow.networks.scoring import (
    BATCH,
    LEAST,
    reconstruct,
    reconstruction_deviance,
    reconstruction_error,
)


class Doubling(nn.Module):
    """Doubles spectra; their latents are the first two channels. Remembers sizes of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def forward(self, rates: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions and latents."""
        assert torch.is_inference_mode_enabled()
        self.sizes.append(len(rates))
        return 2 * rates, rates[:, :2]


def test_spectra_come_back_in_order_whatever_the_batches() -> None:
    rates = np.arange(5 * (2 * BATCH + 7), dtype=np.float32).reshape(-1, 5)
    network: Any = Doubling()
    made, latents = reconstruct(network, rates)
    np.testing.assert_array_equal(made, 2 * rates)
    np.testing.assert_array_equal(latents, rates[:, :2])
    assert network.sizes == [BATCH, BATCH, 7]


def test_the_error_is_the_mean_square_over_the_channels_that_count() -> None:
    rates = np.array([[1.0, 2.0, 50.0, 4.0], [0.0, 0.0, 50.0, 0.0]], np.float32)
    made = np.array([[1.5, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]], np.float32)
    found = reconstruction_error(rates, made, np.array([0, 1, 3]))
    np.testing.assert_allclose(found, [(0.25 + 0.0 + 9.0) / 3, 0.0])


def test_the_error_of_noise_is_its_variance() -> None:
    random = np.random.default_rng(1)
    rates = np.full((1, 40_000), 3.0, np.float32)
    made = rates + random.normal(0, 0.2, rates.shape).astype(np.float32)
    found = reconstruction_error(rates, made, np.arange(rates.size))
    # Its own scatter is sqrt(2 / 40,000) of it.
    assert found[0] == pytest.approx(0.04, rel=5 * math.sqrt(2 / 40_000))


def test_errors_add_up_in_double_precision() -> None:
    """Single precision would add nothing to the large first term."""
    rates = np.zeros((1, 10_001), np.float32)
    made = np.full_like(rates, 1e-3)
    made[0, 0] = 1e3
    found = reconstruction_error(rates, made, np.arange(rates.size))
    assert found[0] * rates.size == pytest.approx(1e6 + 1e-2, abs=1e-5)


def test_the_deviance_is_that_of_counts_in_the_channels_that_count() -> None:
    rates = np.array([[1.0, 0.0, 3.0, 7.0]], np.float32)
    made = np.array([[2.0, 1.5, 3.0, 0.0]], np.float32)
    per_rate = np.array([2.0, 4.0, 5.0, 6.0], np.float32)
    found = reconstruction_deviance(rates, made, per_rate, np.array([0, 1, 2]))
    counts, expected = np.array([2.0, 0.0, 15.0]), np.array([4.0, 6.0, 15.0])
    wanted = 2 * np.mean(expected - counts + xlogy(counts, counts / expected))
    np.testing.assert_allclose(found, [wanted], rtol=1e-6)


def test_deviance_of_reconstructions_counts_channels_and_survives_negative_ones() -> None:
    rates = np.array([[1.0, 2.0, 3.0]], np.float32)
    made = np.array([[1.0, -5.0, 9.0]], np.float32)
    found = reconstruction_deviance(rates, made, np.full(3, 2.0, np.float32), np.array([0, 1]))
    assert found[0] == pytest.approx((LEAST - 4 + 4 * math.log(4 / LEAST)), rel=1e-5)
