"""Networks that train in a moment, and spectra for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from icflow.networks.data import LabelScale
from icflow.networks.training import Examples, Trained
from icflow.networks.weights import Description
from icflow.settings import TrainSettings

LENGTH = 64


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
    return TrainSettings.model_validate(laid(tree, changes))


def laid(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return settings with others laid over them: ``network=…``, ``training__epochs=…``."""
    for key, value in changes.items():
        part, _, name = key.partition("__")
        tree = {**tree, part: {**tree[part], name: value} if name else value}
    return tree


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


def describe(settings: TrainSettings, result: Trained) -> Description:
    return Description(
        settings=settings,
        scale=LabelScale(("kT", "z"), (1.5, 0.01), (9.5, 0.1)),
        channels=LENGTH,
        responses=["ab" * 32],
        best_epoch=result.best_epoch,
        selection_loss=result.selection_loss,
    )
