"""Weights in files, and what they are refused for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table
from small_networks import LENGTH, SAMPLE, SELECTION, describe, make_sample, make_settings

from icflow.errors import IcflowError
from icflow.networks import weights
from icflow.networks.dense import DenseAutoencoder
from icflow.networks.scoring import reconstruct
from icflow.networks.training import Examples, Trained, train
from icflow.networks.weights import load_weights, save_weights


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
    with pytest.raises(IcflowError, match=r"other\.safetensors: weights of a network of another"):
        load_weights(other)
    state = dict(result.state)
    del state["expand.bias"]
    with pytest.raises(IcflowError, match="do not fit the architecture"):
        weights.build(other, state, describe(make_settings(), result))
    table = tmp_path / "table.safetensors"
    Table({"a": [1]}).write(table, format="ascii.ecsv")
    with pytest.raises(IcflowError, match=r"table\.safetensors: not whole weights"):
        load_weights(table)


def test_weights_of_the_network_without_skips(
    trained: tuple[Path, Trained], tmp_path: Path
) -> None:
    """Version 0.1 had another decoder, and said so in its settings."""
    path, result = trained
    _, tree = weights.load_tensors(path)
    tree["settings"]["kind"] = "convolutional"
    tree["settings"]["architecture"]["decoder_skips"] = False
    state = {
        name: tensor
        for name, tensor in result.state.items()
        if not (name.startswith("up.") and (".skip." in name or ".again." in name))
    }
    old = tmp_path / "old.safetensors"
    weights.save_tensors(old, state, tree)
    with pytest.raises(IcflowError) as error:
        load_weights(old)
    assert str(error.value) == (
        f"{old}: weights of a network of another version; delete it and train again"
    )
    with pytest.raises(IcflowError, match=r"old\.safetensors: the weights do not fit the arch"):
        weights.build(old, state, describe(make_settings(), result))


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


def test_weights_of_another_kind_are_refused() -> None:
    settings = make_settings(kind="dense")
    found = describe(settings, train(settings, SAMPLE, SELECTION))
    wanted = make_settings()
    with pytest.raises(IcflowError, match="trained with kind dense, wanted is published"):
        weights.check("w", found, wanted, found.responses, found.channels)


@pytest.mark.parametrize("damage", ["nan", "edited"])
def test_weights_that_are_damaged_are_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.safetensors"
    value = float("nan") if damage == "nan" else 1.0
    weights.save_tensors(path, {"weight": torch.tensor([value, 2.0])}, {"kind": "x"})
    if damage == "edited":
        path.write_bytes(path.read_bytes()[:-1] + b"\x41")
    words = "not finite" if damage == "nan" else "not as it was written"
    with pytest.raises(IcflowError, match=rf"a\.safetensors: .*{words}.*; delete it and train"):
        weights.load_tensors(path)
