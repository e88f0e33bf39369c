"""Training: loss, schedules, determinism, resuming, bad input."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_networks import LENGTH, SAMPLE, SELECTION, describe, make_sample, make_settings, same

from icflow.errors import IcflowError
from icflow.networks import training, weights
from icflow.networks.network import PublishedAutoencoder
from icflow.networks.training import Examples, Trained, distance, fast_rate, train
from icflow.settings import TrainSettings

# --- loss and schedules -----------------------------------------------------------


def test_loss_by_hand() -> None:
    rates = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    reconstruction = torch.tensor([[1.0, 4.0], [2.0, 4.0]])
    network = PublishedAutoencoder(make_settings().architecture, LENGTH)
    assert float(network.misfit(reconstruction, rates)) == pytest.approx((0 + 4 + 1 + 0) / 4)
    latents, labels = torch.tensor([[0.5, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.25], [1, 0.0]])
    away = distance(latents, labels)
    assert float(away) == pytest.approx((0.5 + 0.25 + 0 + 1) / 2)
    # Latents beyond the labels are free.
    more = torch.cat([latents, torch.full((2, 3), 9.0)], dim=1)
    assert float(distance(more, labels)) == float(away)


def test_history_adds_up() -> None:
    result = train(make_settings(constraint=0.3), SAMPLE, SELECTION)
    assert [row.epoch for row in result.history] == [0, 1, 2, 3]
    for row in result.history:
        assert row.train_loss == pytest.approx(row.train_misfit + 0.3 * row.train_constraint)
        assert row.selection_loss == pytest.approx(
            row.selection_misfit + 0.3 * row.selection_constraint
        )
    losses = [row.selection_loss for row in result.history]
    assert result.best_epoch == int(np.argmin(losses))
    assert result.selection_loss == min(losses)


def test_weights_are_those_of_the_best_epoch() -> None:
    """The stored state gives the selection loss that the history states."""
    settings = make_settings()
    result = train(settings, SAMPLE, SELECTION)
    network = weights.build("memory", result.state, describe(settings, result))
    with torch.inference_mode():
        spectra, labels = map(torch.from_numpy, SELECTION)
        reconstruction, latents = network(spectra)
        mse, away = network.misfit(reconstruction, spectra), distance(latents, labels)
    row = result.history[result.best_epoch]
    assert float(mse) == pytest.approx(row.selection_misfit, rel=1e-5)
    assert float(away) == pytest.approx(row.selection_constraint, rel=1e-5)


LONG = make_sample(200, 4), make_sample(40, 5)


@pytest.fixture(scope="module")
def learned() -> Trained:
    """A network that was trained for long enough to reconstruct spectra."""
    return train(make_settings(training__epochs=25), *LONG)


def test_training_learns(learned: Trained) -> None:
    best = learned.history[learned.best_epoch]
    assert best.selection_misfit < 0.15 * float(np.var(LONG[1].rates, axis=0).mean())
    assert best.selection_constraint < 0.3


def test_mixed_precision_learns_as_well_and_selects_in_single_precision(learned: Trained) -> None:
    sample, selection = LONG
    settings = make_settings(training__epochs=25, training__precision="bfloat16")
    mixed = train(settings, sample, selection)
    assert mixed.history[0].train_loss == pytest.approx(learned.history[0].train_loss, rel=0.02)
    assert mixed.history[0].train_loss != learned.history[0].train_loss
    best = mixed.history[mixed.best_epoch]
    assert best.selection_misfit < 0.15 * float(np.var(selection.rates, axis=0).mean())
    assert all(t.dtype in (torch.float32, torch.int64) for t in mixed.state.values())
    network = weights.build("memory", mixed.state, describe(settings, mixed))
    with torch.inference_mode():
        spectra = torch.from_numpy(selection.rates)
        misfit = float(network.misfit(network(spectra)[0], spectra))
    assert misfit == pytest.approx(best.selection_misfit, rel=1e-5)


def test_mixed_precision_gives_the_same_weights_each_time() -> None:
    settings = make_settings(training__precision="bfloat16")
    assert same(train(settings, SAMPLE, SELECTION), train(settings, SAMPLE, SELECTION))


def test_a_dense_network_keeps_single_precision() -> None:
    single, mixed = (
        train(make_settings(kind="dense", training__precision=name), SAMPLE, SELECTION)
        for name in ("float32", "bfloat16")
    )
    assert same(single, mixed)


def test_constraint_of_zero_leaves_the_latents_free() -> None:
    sample, selection = make_sample(100, 4), make_sample(40, 5)
    free = train(make_settings(constraint=0.0, training__epochs=6), sample, selection)
    held = train(make_settings(training__epochs=6), sample, selection)
    assert free.history[-1].train_loss == free.history[-1].train_misfit
    assert free.history[-1].selection_constraint > 2 * held.history[-1].selection_constraint


def test_fast_rate_rises_and_falls() -> None:
    rates = [fast_rate(step, 200, 0.01) for step in range(200)]
    assert rates[0] == pytest.approx(0.01 / 20)
    assert max(rates) == pytest.approx(0.01) == rates[19]
    assert all(a < b for a, b in itertools.pairwise(rates[:20]))
    assert all(a > b for a, b in itertools.pairwise(rates[20:]))
    assert 0 < rates[-1] < 1e-5
    assert fast_rate(0, 1, 0.01) == 0.01


def test_paper_recipe_lowers_the_rate_on_a_plateau() -> None:
    """Without an improvement for more than `patience` epochs the rate falls by ten."""
    noise = Examples(np.zeros((20, LENGTH), np.float32), np.full((20, 2), 0.5, np.float32))
    settings = make_settings(training__recipe="paper", training__epochs=60)
    rates = [row.learning_rate for row in train(settings, noise, noise).history]
    assert rates[0] == 0.01
    falls = [new / old for old, new in itertools.pairwise(rates) if new != old]
    assert falls
    np.testing.assert_allclose(falls, 0.1)


# --- determinism, resuming --------------------------------------------------------


def test_same_seed_same_weights() -> None:
    first = train(make_settings(), SAMPLE, SELECTION)
    torch.rand(5)  # The state of torch's own generator does not matter.
    assert same(first, train(make_settings(), SAMPLE, SELECTION))
    for change in ({"seed": 4}, {"fold": 1}, {"network": "ae"}):
        other = train(make_settings(**change), SAMPLE, SELECTION)
        assert other.history[0].train_loss != first.history[0].train_loss


def test_training_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    train(make_settings(training__epochs=1), SAMPLE, SELECTION)
    assert torch.equal(torch.rand(3), expected)


class Killed(Exception):
    """Stands for the end of the process."""


def train_until(epoch: int, settings: TrainSettings, checkpoint: Path) -> None:
    """Train and die while the epoch after `epoch` runs."""
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        # The line of an epoch comes before its checkpoint.
        if line.startswith(f"epoch {epoch + 1}/"):
            raise Killed

    with pytest.raises(Killed):
        train(settings, SAMPLE, SELECTION, checkpoint, report, interval=0.0)


@pytest.mark.parametrize("recipe", ["paper", "fast"])
def test_resumed_training_ends_with_the_same_weights(tmp_path: Path, recipe: str) -> None:
    settings = make_settings(training__recipe=recipe, training__epochs=7)
    expected = train(settings, SAMPLE, SELECTION)
    checkpoint = tmp_path / "checkpoint.pt"
    for epoch in (2, 5):
        train_until(epoch, settings, checkpoint)
    lines: list[str] = []
    result = train(settings, SAMPLE, SELECTION, checkpoint, lines.append, interval=0.0)
    assert lines[0] == f"{checkpoint}: training goes on after epoch 5"
    assert [line.split(":")[0] for line in lines[1:]] == ["epoch 6/7", "epoch 7/7"]
    assert same(result, expected)


def test_resumed_rate_of_the_paper_recipe(tmp_path: Path) -> None:
    """The scheduler's memory survives: here the rate falls right after the interruption."""
    settings = make_settings(
        training__recipe="paper", training__epochs=9, training__learning_rate=1.0
    )
    expected = train(settings, SAMPLE, SELECTION)
    rates = [row.learning_rate for row in expected.history]
    assert len(set(rates)) > 1
    checkpoint = tmp_path / "checkpoint.pt"
    train_until(next(i for i, rate in enumerate(rates) if rate < rates[0]), settings, checkpoint)
    assert same(train(settings, SAMPLE, SELECTION, checkpoint, interval=0.0), expected)


@pytest.mark.parametrize("change", [{"training__epochs": 5}, {"seed": 8}, {"constraint": 0.2}])
def test_checkpoint_of_other_settings_is_not_used(tmp_path: Path, change: dict[str, Any]) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    train_until(2, make_settings(), checkpoint)
    lines: list[str] = []
    result = train(make_settings(**change), SAMPLE, SELECTION, checkpoint, lines.append)
    assert lines[0] == f"{checkpoint}: a checkpoint of another training, training starts anew"
    assert same(result, train(make_settings(**change), SAMPLE, SELECTION))


def test_checkpoint_of_other_data_is_not_used(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    train_until(2, make_settings(), checkpoint)
    other = make_sample(35, 9)
    result = train(make_settings(), other, SELECTION, checkpoint)
    assert same(result, train(make_settings(), other, SELECTION))


def test_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    train_until(2, make_settings(), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    lines: list[str] = []
    result = train(make_settings(), SAMPLE, SELECTION, checkpoint, lines.append)
    assert "damaged checkpoint" in lines[0]
    assert same(result, train(make_settings(), SAMPLE, SELECTION))


def test_checkpoints_wait_for_their_interval(tmp_path: Path) -> None:
    train(make_settings(), SAMPLE, SELECTION, tmp_path / "c.pt", interval=1e6)
    assert list(tmp_path.iterdir()) == []


# --- bad input --------------------------------------------------------------------


def test_loss_that_diverges_keeps_the_last_good_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    good = train(make_settings(), SAMPLE, SELECTION)
    steps = itertools.count()

    def diverging(*args: torch.Tensor) -> torch.Tensor:
        # Two epochs of three batches and one selection batch of 10 and one of 2 each.
        return distance(*args) * (float("inf") if next(steps) >= 10 else 1.0)

    monkeypatch.setattr(training, "distance", diverging)
    lines: list[str] = []
    result = train(make_settings(), SAMPLE, SELECTION, report=lines.append)
    assert result.diverged == 2
    assert result.history == good.history[:2]
    assert result.best_epoch == int(np.argmin([row.selection_loss for row in result.history]))
    assert all(torch.isfinite(tensor).all() for tensor in result.state.values())
    assert "the loss is not finite in epoch 3; lower autoencoder.training.learning_rate" in lines[2]


def test_loss_that_diverges_at_once_is_an_error() -> None:
    rates = np.full_like(SAMPLE.rates, np.float32(3e38))
    with pytest.raises(IcflowError, match="cae, fold 0: the loss is not finite in epoch 1"):
        train(make_settings(), Examples(rates, SAMPLE.labels), SELECTION)


def test_settings_that_cannot_be_trained() -> None:
    with pytest.raises(IcflowError, match=r"batch is 36, but only 35 spectra train in a fold"):
        train(make_settings(training__batch=36), SAMPLE, SELECTION)
    with pytest.raises(IcflowError, match=r"latents is 1, fewer than the 2 labels"):
        train(make_settings(architecture__latents=1), SAMPLE, SELECTION)


def test_no_gpu_memory_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "distance", full)
    with pytest.raises(
        IcflowError, match=r"no GPU memory left; lower autoencoder\.training\.batch"
    ):
        train(make_settings(), SAMPLE, SELECTION)


def test_resumed_training_of_a_dense_network(tmp_path: Path) -> None:
    settings = make_settings(kind="dense")
    whole = train(settings, SAMPLE, SELECTION)
    path = tmp_path / "checkpoint.pt"
    train_until(2, settings, path)
    again = train(settings, SAMPLE, SELECTION, path)
    assert again.history == whole.history
    assert all(torch.equal(again.state[name], whole.state[name]) for name in whole.state)
