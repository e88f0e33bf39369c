"""Learnt likelihood ratios, where the true ones are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from icflow.networks import ratio
from icflow.networks.ratio import DrawnSpectra, RatioInputs, RatioNetwork, train
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
        "spectra": 40_000,
        "batch": 500,
        "units": 32,
        "layers": 1,
        "learning_rate": 3e-3,
    }
    return RatioSettings.model_validate(given | changes)


def inputs(counts: np.ndarray, known: np.ndarray) -> RatioInputs:
    """Fit the brightness, and be wrong about the ratio: by a factor, and the more the brighter."""
    bright = counts.sum(axis=1, keepdims=True) / FLAT.sum()
    residuals = (counts - bright * FLAT) / np.sqrt(bright * FLAT)
    misfit = (residuals**2).sum(axis=1)
    rough = 0.5 * true_ratio(counts) + 3 * (bright - known)[:, 0]
    return RatioInputs(
        rough, misfit, np.concatenate([bright, misfit[:, None]], 1), residuals, known
    )


def draw(number: int, random: np.random.Generator) -> DrawnSpectra:
    """Draw flat and tilted spectra as bright as is known of each, but for a tenth."""
    counts, known, is_ic = drawn(number, random)
    return DrawnSpectra(inputs(counts, known), is_ic)


def drawn(number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    is_ic = np.arange(number) >= number // 2
    known = random.uniform(0.5, 1.5, (number, 1))
    bright = known * np.exp(0.1 * random.standard_normal((number, 1)))
    counts = random.poisson(bright * np.where(is_ic[:, None], TILTED, FLAT))
    return counts, known, is_ic


def true_ratio(counts: np.ndarray) -> np.ndarray:
    """Brightness tells nothing, so what is left is how counts are shared among bins."""
    shares = np.log(TILTED / TILTED.sum()) - np.log(FLAT / FLAT.sum())
    return np.asarray(counts @ shares)


@pytest.fixture(scope="module")
def network() -> RatioNetwork:
    torch.set_num_threads(1)
    said: list[str] = []
    made = train(settings(), draw, report=said.append).network
    assert not any("the ratio is that of the fits" in line for line in said)
    return made


def test_the_network_learns_the_likelihood_ratio(network: RatioNetwork) -> None:
    counts, known, is_ic = drawn(20_000, np.random.default_rng(2))
    own, exact = inputs(counts, known), true_ratio(counts)
    odds = network.log_odds(own)
    near = (np.abs(exact) < 5) & (np.abs(odds) < 5)
    assert near.mean() > 0.9
    assert np.corrcoef(odds[near], exact[near])[0, 1] > 0.98 > np.corrcoef(own.rough, exact)[0, 1]
    assert np.polyfit(exact[near], odds[near], 1) == pytest.approx([1.0, 0.0], abs=0.08)
    assert ((odds > 0) == is_ic).mean() > ((exact > 0) == is_ic).mean() - 0.005


def test_odds_are_frequencies(network: RatioNetwork) -> None:
    spectra = draw(40_000, np.random.default_rng(3))
    p = 1 / (1 + np.exp(-network.log_odds(spectra.inputs)))
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        here = (p >= low) & (p < low + 0.2)
        spread = 4 * np.sqrt(np.sum(p[here] * (1 - p[here]))) / here.sum()
        assert spectra.is_ic[here].mean() == pytest.approx(p[here].mean(), abs=spread + 0.01)


def test_nothing_is_unlearnt_where_fits_know_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratio, "CALIBRATED", 20_000)

    def known(number: int, random: np.random.Generator) -> DrawnSpectra:
        counts, values, is_ic = drawn(number, random)
        return DrawnSpectra(inputs(counts, values)._replace(rough=true_ratio(counts)), is_ic)

    said: list[str] = []
    network = train(settings(spectra=2000, batch=50), known, report=said.append).network
    assert "the ratio is that of the fits" in said[-1]
    assert not network.output[1].weight.any()
    counts, values, _ = drawn(20_000, np.random.default_rng(7))
    exact = true_ratio(counts)
    own = inputs(counts, values)._replace(rough=exact)
    assert np.corrcoef(network.log_odds(own), exact)[0, 1] > 0.998
    # They are calibrated too, and know how far off spectra of the training are.
    assert 0 < network.unlike(own).mean() < 0.01


def test_odds_that_are_far_too_sure_are_calibrated() -> None:
    random = np.random.default_rng(6)
    logits = random.normal(0.0, 2.0, 20_000) - 1.0
    is_ic = random.random(20_000) < 1 / (1 + np.exp(-logits))
    # Newton's whole steps lead away from here.
    scale, offset = ratio._logistic(40 * logits + 60, is_ic)
    assert scale == pytest.approx(1 / 40, rel=0.05)
    assert offset == pytest.approx(-60 / 40, abs=0.1)
    assert ratio._logistic(np.zeros(100), np.arange(100) < 50) == (1.0, 0.0)


def test_spectra_unlike_those_drawn_are_told(network: RatioNetwork) -> None:
    counts, known, _ = drawn(20_000, np.random.default_rng(4))
    assert network.unlike(inputs(counts, known)).mean() < 0.005
    # Of another shape, and with a known value outside of those drawn.
    line = counts.copy()
    line[:, 7] *= 3
    assert network.unlike(inputs(line, known)).mean() > 0.99
    for away in (2, -2):
        assert network.unlike(inputs(counts, known + away)).all()


def test_what_was_best_so_far_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratio, "VALIDATED", 1000)
    trainer, again = (ratio._Trainer(settings(spectra=1000), draw) for _ in range(2))
    # At first that are the fits alone.
    assert trainer.lowest == trainer._loss()[0]
    trainer.lowest, trainer.best = 0.1, {"output.1.bias": torch.tensor([0.3])}
    trainer._save(tmp_path / "checkpoint.pt")
    again.resume(tmp_path / "checkpoint.pt")
    assert again.lowest == 0.1
    assert again.best == trainer.best


def test_every_epoch_has_an_order_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratio, "VALIDATED", 1000)
    trainer = ratio._Trainer(settings(spectra=1000, batch=100), draw)
    first, second, same = (trainer._order(epoch, 1000).clone() for epoch in (0, 1, 0))
    assert torch.equal(first, same) and not torch.equal(first, second)
    for order in (first, second):
        assert sorted(order.flatten().tolist()) == list(range(1000))


def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ratio, "PREPARED", 2000)
    monkeypatch.setattr(ratio, "VALIDATED", 1000)
    monkeypatch.setattr(ratio, "CALIBRATED", 2000)
    own, checkpoint = settings(spectra=10_000), tmp_path / "checkpoint.pt"
    whole = train(own, draw)
    calls = 0

    def interrupted(last: int) -> Callable[..., DrawnSpectra]:
        def failing(number: int, random: np.random.Generator) -> DrawnSpectra:
            nonlocal calls
            calls += 1
            if calls == last:
                raise KeyboardInterrupt
            return draw(number, random)

        return failing

    # While spectra are drawn (the first two calls are for scales and validation) ...
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        train(own, interrupted(8), checkpoint, interval=0.0)
    # ... and while the network is trained.
    with pytest.raises(KeyboardInterrupt), pytest.MonkeyPatch.context() as patch:
        steps = iter(range(30))
        take = ratio._Trainer._take_step

        def failing_step(trainer: ratio._Trainer, *batch: torch.Tensor) -> None:
            if next(steps, None) is None:
                raise KeyboardInterrupt
            take(trainer, *batch)

        patch.setattr(ratio._Trainer, "_take_step", failing_step)
        train(own, draw, checkpoint, said.append, interval=0.0)
    assert "goes on after 5000 spectra were drawn" in said[0]
    resumed = train(own, draw, checkpoint, said.append)
    assert any("goes on after 10000 spectra were drawn" in line for line in said)
    assert resumed.history == whole.history
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, resumed.network.state_dict()[name]), name
    other: list[str] = []
    train(settings(spectra=10_000, learning_rate=1e-3), draw, checkpoint, other.append)
    assert "of another training" in other[0]
    checkpoint.write_bytes(b"PK damaged")
    damaged: list[str] = []
    train(own, draw, checkpoint, damaged.append)
    assert "a damaged checkpoint" in damaged[0]
