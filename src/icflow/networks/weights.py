"""Trained networks as safetensors files, with everything needed to use them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from icflow.errors import IcflowError
from icflow.files import atomic_path, canonical_json, reading
from icflow.networks.data import LabelScale
from icflow.networks.dense import DenseAutoencoder
from icflow.networks.network import PublishedAutoencoder, create
from icflow.settings import TrainSettings

# One metadata entry only: safetensors writes several in no fixed order.
_KEY = "icflow"
# In the description: what the tensors must add up to.
_CHECKSUM = "checksum"


@dataclass(frozen=True)
class Description:
    """What weights were trained as.

    Attributes
    ----------
    settings : TrainSettings
        Network, fold, architecture, input energies, labels and training.
    scale : LabelScale
        Ranges of the labels that map to [0, 1].
    channels : int
        Number of input channels.
    responses : list of str
        SHA-256 of the RMF files that give their energies, one for each module.
    best_epoch : int
        Epoch of these weights, from 0.
    selection_loss : float
        Loss of the selection spectra in that epoch.
    """

    settings: TrainSettings
    scale: LabelScale
    channels: int
    responses: list[str]
    best_epoch: int
    selection_loss: float


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], description: Mapping[str, Any]
) -> None:
    """Write tensors and a description atomically; the bytes depend on these alone."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    described = canonical_json({**description, _CHECKSUM: _checksum(whole)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(whole, metadata={_KEY: described}))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names and numbers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises
    ------
    IcflowError
        If the file is missing, damaged, or not written by `save_tensors`.
    """
    if not Path(path).exists():
        raise IcflowError(f"{path}: no such file; train the network first")
    what, remedy = "whole weights of an autoencoder of this project", "delete it and train again"
    with reading(path, what, remedy), safe_open(path, framework="pt") as file:
        description = json.loads((file.metadata() or {})[_KEY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if description.pop(_CHECKSUM, None) not in (None, _checksum(tensors)):
        raise IcflowError(f"{path}: not as it was written, but damaged or edited; {remedy}")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise IcflowError(f"{path}: holds weights that are not finite; {remedy}")
    return tensors, description


def save_weights(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], description: Description
) -> None:
    """Write the weights of a trained network with its description."""
    scale = description.scale
    tree = {
        "settings": description.settings.model_dump(mode="json"),
        "labels": [list(row) for row in zip(scale.names, scale.low, scale.high, strict=True)],
        "channels": description.channels,
        "responses": description.responses,
        "best_epoch": description.best_epoch,
        "selection_loss": description.selection_loss,
    }
    save_tensors(path, state, tree)


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], Description]:
    """Read the weights of a trained network and their description.

    Raises
    ------
    IcflowError
        As `load_tensors`.
    """
    state, tree = load_tensors(path)
    try:
        rows = [(str(name), float(low), float(high)) for name, low, high in tree["labels"]]
        description = Description(
            settings=TrainSettings.model_validate(tree["settings"]),
            scale=LabelScale(
                names=tuple(row[0] for row in rows),
                low=tuple(row[1] for row in rows),
                high=tuple(row[2] for row in rows),
            ),
            channels=tree["channels"],
            responses=tree["responses"],
            best_epoch=tree["best_epoch"],
            selection_loss=tree["selection_loss"],
        )
    except (KeyError, TypeError, ValueError):
        raise IcflowError(
            f"{path}: weights of a network of another version; delete it and train again"
        ) from None
    return state, description


def check(
    path: str | os.PathLike[str],
    trained: Description,
    settings: TrainSettings,
    responses: list[str],
    channels: int,
) -> None:
    """Refuse weights that do not belong to what they are used for.

    Epochs, learning rate and the like may differ, what fixes the input, the output
    and the split of the spectra may not.

    Raises
    ------
    IcflowError
        The message names the file, what differs and both values.
    """
    pairs = [
        (key, getattr(trained.settings, key), getattr(settings, key))
        for key in ("network", "kind", "fold", "seed", "energies", "labels", "architecture")
    ]
    pairs += [
        (
            f"training.{key}",
            getattr(trained.settings.training, key),
            getattr(settings.training, key),
        )
        for key in ("spectra", "folds")
    ]
    pairs += [
        ("response (SHA-256)", theirs, ours)
        for theirs, ours in zip_longest(trained.responses, responses, fillvalue="none")
    ]
    pairs += [
        (
            "spectra drawn with files and settings (SHA-256)",
            trained.settings.drawn_with,
            settings.drawn_with,
        ),
        ("number of input channels", trained.channels, channels),
    ]
    for key, theirs, ours in pairs:
        if theirs != ours:
            raise IcflowError(
                f"{path}: trained with {key} {_brief(theirs)}, wanted is {_brief(ours)}; train the "
                "network again or use the settings that it was trained with"
            )


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."


def build(
    path: str | os.PathLike[str], state: Mapping[str, Tensor], description: Description
) -> PublishedAutoencoder | DenseAutoencoder:
    """Return the network with its weights, ready to use on a CPU.

    Raises
    ------
    IcflowError
        If the weights do not fit the architecture that the file states.
    """
    with torch.random.fork_rng(devices=[]):
        network = create(description.settings, description.channels)
    try:
        network.load_state_dict(dict(state))
    except RuntimeError:
        raise IcflowError(
            f"{path}: the weights do not fit the architecture stated in the file; train again"
        ) from None
    return network.eval()
