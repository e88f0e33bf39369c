"""Learnt likelihood ratios, where the true ones are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from icflow.networks import ratio
from icflow.networks.ratio import RatioNetwork, Spectra, train
from icflow.settings import RatioSettings

BINS = 20
FLAT = np.full(BINS, 60.0)
TILTED = 60.0 * (1 + 0.08 * np.linspace(-1, 1, BINS))


def settings(**changes: object) -> RatioSettings:
    model = {"expression": "powerlaw", "parameters": {}}
    given = {
        "seed": 1,
        "atomic_data": {},
        "modules": [],
        "energies": [3.0, 80.0],
        "name": "toy",
        "thermal": model,
        "alternative": model,
        "at_truth": [],
        "spectra": 300_000,
        "batch": 500,
        "units": 32,
        "layers": 1,
        "learning_rate": 3e-3,
    }
    return RatioSettings.model_validate(given | changes)


def draw(number: int, random: np.random.Generator) -> Spectra:
    """Draw flat and tilted spectra as bright as is known of each, but for a tenth."""
    is_ic = np.arange(number) >= number // 2
    known = random.uniform(0.5, 1.5, (number, 1))
    bright = known * np.exp(0.1 * random.standard_normal((number, 1)))
    counts = random.poisson(bright * np.where(is_ic[:, None], TILTED, FLAT))
    return Spectra(counts, known, is_ic)


def true_ratio(counts: np.ndarray) -> np.ndarray:
    """Brightness tells nothing, so what is left is how counts are shared among bins."""
    shares = np.log(TILTED / TILTED.sum()) - np.log(FLAT / FLAT.sum())
    return np.asarray(counts @ shares)


@pytest.fixture(scope="module")
def network() -> RatioNetwork:
    torch.set_num_threads(1)
    return train(settings(), draw).network


def test_the_network_learns_the_likelihood_ratio(network: RatioNetwork) -> None:
    spectra = draw(20_000, np.random.default_rng(2))
    found, exact = network.log_odds(spectra.counts, spectra.known), true_ratio(spectra.counts)
    near = (np.abs(exact) < 5) & (np.abs(found) < 5)
    assert near.mean() > 0.9
    assert np.corrcoef(found[near], exact[near])[0, 1] > 0.98
    assert ((found > 0) == spectra.is_ic).mean() > ((exact > 0) == spectra.is_ic).mean() - 0.005


def test_odds_are_frequencies(network: RatioNetwork) -> None:
    spectra = draw(40_000, np.random.default_rng(3))
    p = 1 / (1 + np.exp(-network.log_odds(spectra.counts, spectra.known)))
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        here = (p >= low) & (p < low + 0.2)
        spread = 4 * np.sqrt(np.sum(p[here] * (1 - p[here]))) / here.sum()
        assert spectra.is_ic[here].mean() == pytest.approx(p[here].mean(), abs=spread + 0.01)


def test_spectra_unlike_those_drawn_are_told(network: RatioNetwork) -> None:
    spectra = draw(20_000, np.random.default_rng(4))
    assert network.unlike(spectra.counts, spectra.known).mean() < 0.005
    # Of another shape, brighter, and with a known value outside of those drawn.
    line = spectra.counts.copy()
    line[:, 7] *= 3
    assert network.unlike(line, spectra.known).mean() > 0.99
    assert network.unlike(8 * spectra.counts, spectra.known).mean() > 0.99
    assert network.unlike(spectra.counts, spectra.known + 2).all()


def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratio, "PREPARED", 2000)
    monkeypatch.setattr(ratio, "VALIDATED", 1000)
    own, checkpoint = settings(spectra=20_000), tmp_path / "checkpoint.pt"
    whole = train(own, draw)
    drawn = 0

    def failing(number: int, random: np.random.Generator) -> Spectra:
        nonlocal drawn
        drawn += 1
        if drawn == 25:
            raise KeyboardInterrupt
        return draw(number, random)

    with pytest.raises(KeyboardInterrupt):
        train(own, failing, checkpoint, interval=0.0)
    said: list[str] = []
    resumed = train(own, draw, checkpoint, said.append)
    assert "goes on after" in said[0]
    assert resumed.history == whole.history
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    other: list[str] = []
    train(settings(spectra=20_000, learning_rate=1e-3), draw, checkpoint, other.append)
    assert "of another training" in other[0]
    checkpoint.write_bytes(b"PK damaged")
    damaged: list[str] = []
    train(own, draw, checkpoint, damaged.append)
    assert "a damaged checkpoint" in damaged[0]
