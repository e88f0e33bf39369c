"""The dense autoencoder: deviance, whitening, spectra of any length."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from icflow.networks.dense import GROUP, DenseAutoencoder, deviance

LENGTH = 64


def test_deviance_by_hand() -> None:
    counts, expected = torch.tensor([[0.0, 4.0], [3.0, 3.0]]), torch.tensor([[2.0, 2.0], [3.0, 3]])
    wanted = [2 * (2 + (2 - 4 + 4 * math.log(2))) / 2, 0.0]
    np.testing.assert_allclose(deviance(counts, expected), wanted, rtol=1e-6)


def test_deviance_of_noise_is_one() -> None:
    expected = np.full((20, 500), 50.0)
    counts = np.random.default_rng(1).poisson(expected).astype(float)
    found = deviance(torch.from_numpy(counts), torch.from_numpy(expected))
    assert float(found.mean()) == pytest.approx(1.0, abs=0.03)


def test_whitened_spectra_scatter_alike() -> None:
    """Principal components of the stabilised counts have unit variance and no mean."""
    random = np.random.default_rng(2)
    level = random.uniform(50, 200, (300, 1)) * np.linspace(1, 3, LENGTH)
    rates = torch.from_numpy(random.poisson(level).astype(np.float32) / 5)
    network = DenseAutoencoder(2, LENGTH)
    network.adapt(rates, torch.full((LENGTH,), 5.0))
    grouped = (rates * 5).unflatten(1, (-1, GROUP)).sum(2)
    white = (2 * torch.sqrt(grouped + 3 / 8) - network.mean) @ network.whitening
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(torch.cov(white.T), np.eye(white.shape[1]) * 300 / 299, atol=1e-2)


def test_fewer_spectra_than_components_leave_others_where_they_are() -> None:
    """Directions in which the training spectra happen not to scatter are not blown up."""
    random = np.random.default_rng(3)
    level = np.linspace(50, 200, LENGTH)
    train, others = (
        torch.from_numpy(random.poisson(level, (number, LENGTH)).astype(np.float32))
        for number in (6, 50)
    )
    network = DenseAutoencoder(2, LENGTH)
    network.adapt(train, torch.ones(LENGTH))
    stabilised = 2 * torch.sqrt(others.unflatten(1, (-1, GROUP)).sum(2) + 3 / 8)
    assert float(((stabilised - network.mean) @ network.whitening).abs().max()) < 20


def test_any_length_comes_back() -> None:
    network = DenseAutoencoder(3, 61)
    made, latents = network(torch.rand(5, 61))
    assert made.shape == (5, 61)
    assert latents.shape == (5, 3)
    assert (made > 0).all()
