"""Training: data, folds, loss, schedules, determinism, resuming, weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table

from icflow.errors import IcflowError
from icflow.networks import devices, training, weights
from icflow.networks.data import LabelScale, input_rates, select_channels, split
from icflow.networks.dense import DenseAutoencoder
from icflow.networks.network import SpectrumAutoencoder
from icflow.networks.scoring import reconstruct
from icflow.networks.training import Examples, Trained, distance, fast_rate, train
from icflow.networks.weights import Description, load_weights, save_weights
from icflow.ogip.response import read_rmf
from icflow.settings import TrainSettings

LENGTH = 64


@pytest.fixture(autouse=True, scope="module")
def prepared() -> Iterator[None]:
    """One thread and deterministic algorithms, as in the stages."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    devices.prepare(1)
    yield
    torch.set_num_threads(before[0])
    torch.use_deterministic_algorithms(before[1])


def make_settings(**changes: Any) -> TrainSettings:
    tree: dict[str, Any] = {
        "seed": 3,
        "responses": ["none.rmf"],
        "energies": [1.6, 120.0],
        "labels": {"kT": "fit:apec.kT", "z": "truth:apec.Redshift"},
        "architecture": {
            "widths": [4, 8, 16],
            "dense": [12],
            "latents": 2,
            "kernel": 3,
            "decoder_skips": False,
        },
        "training": {
            "recipe": "fast",
            "spectra": 100,
            "folds": 5,
            "folds_trained": 1,
            "epochs": 4,
            "batch": 10,
            "learning_rate": 0.01,
            "patience": 1,
            "device": "cpu",
        },
        "network": "cae",
        "constraint": 0.1,
        "fold": 0,
    }
    for key, value in changes.items():
        part, _, name = key.partition("__")
        if name:
            tree[part] = {**tree[part], name: value}
        else:
            tree[part] = value
    return TrainSettings.model_validate(tree)


def make_sample(n: int, seed: int) -> Examples:
    """Falling spectra of two parameters, with noise."""
    random = np.random.default_rng(seed)
    labels = random.uniform(size=(n, 2))
    energy = np.linspace(0, 3, LENGTH)
    rates = (0.2 + labels[:, :1]) * np.exp(-energy * (0.5 + labels[:, 1:]))
    rates += 0.01 * random.normal(size=rates.shape)
    return Examples(rates.astype(np.float32), labels.astype(np.float32))


SAMPLE, SELECTION = make_sample(35, 1), make_sample(12, 2)


def same(one: Trained, other: Trained) -> bool:
    """Equal to the last bit: weights, history and chosen epoch."""
    return (
        one.best_epoch == other.best_epoch
        and one.history == other.history
        and one.state.keys() == other.state.keys()
        and all(torch.equal(one.state[name], other.state[name]) for name in one.state)
    )


# --- data -----------------------------------------------------------------------


def test_channels_of_nustar(rmf_path: Path) -> None:
    rmf = read_rmf(rmf_path)
    channels = select_channels(rmf.e_min, rmf.e_max, [1.6, 120.0])
    np.testing.assert_array_equal(channels, np.arange(2960))
    single = [np.asarray(edges, np.float32) for edges in (rmf.e_min, rmf.e_max)]
    assert select_channels(*single, [1.6, 120.0]).size == 2960
    scored = select_channels(rmf.e_min, rmf.e_max, [3.0, 80.0])
    assert (scored[0], scored[-1]) == (35, 1959)


def test_input_rates() -> None:
    counts = np.array([[7, 10, 20, 9], [1, 0, 4, 2]])
    e_min, e_max = np.array([1.0, 2.0, 2.5, 4.0]), np.array([2.0, 2.5, 4.0, 8.0])
    rates = input_rates(counts, 100.0, e_min, e_max, [2.0, 4.0])
    assert rates.dtype == np.float32
    np.testing.assert_allclose(rates, [[10 / 50, 20 / 150], [0, 4 / 150]], rtol=1e-6)


def test_input_that_does_not_fit_the_response() -> None:
    e_min, e_max = np.array([1.0, 2.0]), np.array([2.0, 3.0])
    with pytest.raises(IcflowError, match="5 to 9 keV select no channel of the response"):
        input_rates(np.ones((1, 2)), 1.0, e_min, e_max, [5.0, 9.0])
    with pytest.raises(IcflowError, match="the spectra have 3 channels, the response 2"):
        input_rates(np.ones((1, 3)), 1.0, e_min, e_max, [1.0, 3.0])


def test_labels_map_to_the_unit_interval_and_back() -> None:
    values = np.array([[2.0, -1.0], [4.0, 0.0], [3.0, 1.0]])
    scale = LabelScale.of(["kT", "z"], values)
    assert (scale.low, scale.high) == ((2.0, -1.0), (4.0, 1.0))
    np.testing.assert_allclose(scale.scaled(values), [[0, 0], [1, 0.5], [0.5, 1]])
    np.testing.assert_allclose(scale.physical(scale.scaled(values)), values)
    with pytest.raises(IcflowError, match=r"autoencoder\.labels\.z: all .* the value 7"):
        LabelScale.of(["kT", "z"], np.array([[1.0, 7.0], [2.0, 7.0]]))


def test_every_spectrum_plays_one_part_in_each_fold() -> None:
    n, folds = 103, 10
    held, selected = [], []
    for fold in range(folds):
        parts = split(n, folds, fold, seed=5)
        np.testing.assert_array_equal(
            np.sort(np.concatenate(list(parts.parts().values()))), np.arange(n)
        )
        assert {parts.holdout.size, parts.selection.size} <= {10, 11}
        held.append(parts.holdout)
        selected.append(parts.selection)
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(n))
    for fold in range(folds):
        np.testing.assert_array_equal(selected[fold], held[(fold + 1) % folds])
    # A permutation, not slices of the dataset in order, and another one for another seed.
    assert not np.array_equal(held[0], np.arange(held[0].size))
    assert not np.array_equal(held[0], split(n, folds, 0, seed=6).holdout)


def test_too_few_spectra_for_the_folds() -> None:
    with pytest.raises(IcflowError, match="4 spectra cannot be split into 5 folds"):
        split(4, 5, 0, seed=1)
    with pytest.raises(IcflowError, match="there is no fold 5, allowed: 0 to 4"):
        split(100, 5, 5, seed=1)


# --- loss and schedules -----------------------------------------------------------


def test_loss_by_hand() -> None:
    rates = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    reconstruction = torch.tensor([[1.0, 4.0], [2.0, 4.0]])
    network = SpectrumAutoencoder(make_settings().architecture, LENGTH)
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


def test_training_learns() -> None:
    sample, selection = make_sample(200, 4), make_sample(40, 5)
    result = train(make_settings(training__epochs=15), sample, selection)
    best = result.history[result.best_epoch]
    assert best.selection_misfit < 0.15 * float(np.var(selection.rates, axis=0).mean())
    assert best.selection_constraint < 0.3


def test_mixed_precision_learns_as_well_and_selects_in_single_precision() -> None:
    sample, selection = make_sample(200, 4), make_sample(40, 5)
    settings = make_settings(training__epochs=15, training__precision="bfloat16")
    mixed = train(settings, sample, selection)
    single = train(make_settings(training__epochs=15), sample, selection)
    assert mixed.history[0].train_loss == pytest.approx(single.history[0].train_loss, rel=0.02)
    assert mixed.history[0].train_loss != single.history[0].train_loss
    best = mixed.history[mixed.best_epoch]
    assert best.selection_misfit < 0.15 * float(np.var(selection.rates, axis=0).mean())
    assert same(mixed, train(settings, sample, selection))
    assert all(t.dtype in (torch.float32, torch.int64) for t in mixed.state.values())
    network = weights.build("memory", mixed.state, describe(settings, mixed))
    with torch.inference_mode():
        spectra = torch.from_numpy(selection.rates)
        misfit = float(network.misfit(network(spectra)[0], spectra))
    assert misfit == pytest.approx(best.selection_misfit, rel=1e-5)


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


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(IcflowError, match="torch finds no GPU; use auto or cpu"):
        train(make_settings(training__device="cuda"), SAMPLE, SELECTION)
    assert devices.choose_device("auto") == torch.device("cpu")


def test_no_gpu_memory_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(training, "distance", full)
    with pytest.raises(
        IcflowError, match=r"no GPU memory left; lower autoencoder\.training\.batch"
    ):
        train(make_settings(), SAMPLE, SELECTION)


# --- weights ----------------------------------------------------------------------


def describe(settings: TrainSettings, result: Trained) -> Description:
    return Description(
        settings=settings,
        scale=LabelScale(("kT", "z"), (1.5, 0.01), (9.5, 0.1)),
        channels=LENGTH,
        responses=["ab" * 32],
        best_epoch=result.best_epoch,
        selection_loss=result.selection_loss,
    )


@pytest.fixture(scope="module")
def trained(prepared: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    settings = make_settings()
    result = train(settings, SAMPLE, SELECTION)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_weights(path, result.state, describe(settings, result))
    return path, result


def test_weights_survive_the_file(trained: tuple[Path, Trained], tmp_path: Path) -> None:
    path, result = trained
    state, description = load_weights(path)
    assert description == describe(make_settings(), result)
    assert state.keys() == result.state.keys()
    assert all(torch.equal(state[name], result.state[name]) for name in state)
    again = tmp_path / "again.safetensors"
    save_weights(again, state, description)
    assert again.read_bytes() == path.read_bytes()
    assert again.stat().st_mode & 0o444 == 0o444, "readable like any other file"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "ae"}, "trained with network cae, wanted is ae"),
        ({"fold": 1}, "trained with fold 0, wanted is 1"),
        ({"architecture__kernel": 5}, "trained with architecture "),
        ({"energies": [1.6, 80.0]}, r"trained with energies \[1.6, 120.0\], wanted is \[1.6, 80"),
        ({"labels": {"kT": "fit:apec.kT"}}, "trained with labels "),
        ({"training__spectra": 90}, "trained with training.spectra 100, wanted is 90"),
    ],
)
def test_weights_of_another_network(
    trained: tuple[Path, Trained], change: dict[str, Any], message: str
) -> None:
    path, _ = trained
    _, description = load_weights(path)
    with pytest.raises(IcflowError, match=f"weights.safetensors: {message}"):
        weights.check(path, description, make_settings(**change), ["ab" * 32], LENGTH)


def test_weights_of_another_response(trained: tuple[Path, Trained]) -> None:
    path, _ = trained
    _, description = load_weights(path)
    # How it was trained may differ, as long as the network is the same.
    weights.check(path, description, make_settings(training__epochs=9), ["ab" * 32], LENGTH)
    with pytest.raises(IcflowError, match=r"trained with response \(SHA-256\) abab"):
        weights.check(path, description, make_settings(), ["cd" * 32], LENGTH)
    with pytest.raises(IcflowError, match="number of input channels 64, wanted is 65"):
        weights.check(path, description, make_settings(), ["ab" * 32], LENGTH + 1)


def test_files_that_are_not_weights(trained: tuple[Path, Trained], tmp_path: Path) -> None:
    path, result = trained
    with pytest.raises(IcflowError, match=r"absent\.safetensors: no such file"):
        load_weights(tmp_path / "absent.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(IcflowError, match=r"cut\.safetensors: not whole weights"):
        load_weights(cut)
    other = tmp_path / "other.safetensors"
    weights.save_tensors(other, result.state, {"something": "else"})
    with pytest.raises(IcflowError, match=r"other\.safetensors: weights without the settings"):
        load_weights(other)
    state = dict(result.state)
    del state["expand.bias"]
    with pytest.raises(IcflowError, match="do not fit the architecture"):
        weights.build(other, state, describe(make_settings(), result))
    table = tmp_path / "table.safetensors"
    Table({"a": [1]}).write(table, format="ascii.ecsv")
    with pytest.raises(IcflowError, match=r"table\.safetensors: not whole weights"):
        load_weights(table)


# --- the dense network --------------------------------------------------------------


def test_dense_network_learns_and_survives_the_file(tmp_path: Path) -> None:
    settings = make_settings(kind="dense", training__epochs=40, constraint=3.0)
    sample, selection = (
        Examples(s.rates + 5, s.labels) for s in (make_sample(200, 4), make_sample(40, 5))
    )
    per_rate = np.full(sample.rates.shape[1], 20.0, np.float32)
    result = train(settings, sample, selection, counts_per_rate=per_rate)
    first, best = result.history[0], result.history[result.best_epoch]
    assert best.selection_misfit < 0.5 * first.selection_misfit
    assert best.selection_constraint < 0.2
    description = describe(settings, result)
    path = tmp_path / "weights.safetensors"
    weights.save_weights(path, result.state, description)
    network = weights.build(path, *weights.load_weights(path))
    assert isinstance(network, DenseAutoencoder)
    made, latents = reconstruct(network, selection.rates)
    misfit = network.misfit(torch.from_numpy(made), torch.from_numpy(selection.rates))
    assert float(misfit) == pytest.approx(best.selection_misfit, rel=1e-4)
    away = np.abs(latents - selection.labels).sum(1).mean()
    assert away == pytest.approx(best.selection_constraint, rel=1e-4)


def test_resumed_training_of_a_dense_network(tmp_path: Path) -> None:
    settings = make_settings(kind="dense")
    whole = train(settings, SAMPLE, SELECTION)
    path = tmp_path / "checkpoint.pt"
    train_until(2, settings, path)
    again = train(settings, SAMPLE, SELECTION, path)
    assert again.history == whole.history
    assert all(torch.equal(again.state[name], whole.state[name]) for name in whole.state)


def test_weights_of_another_kind_are_refused() -> None:
    settings = make_settings(kind="dense")
    found = describe(settings, train(settings, SAMPLE, SELECTION))
    wanted = make_settings()
    with pytest.raises(IcflowError, match="trained with kind dense, wanted is convolutional"):
        weights.check("w", found, wanted, found.responses, found.channels)
