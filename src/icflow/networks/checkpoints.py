"""Checkpoints: the states of trainings that were interrupted."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

# Its name, in the folder that the training writes.
CHECKPOINT = "checkpoint.pt"


def read_checkpoint(path: Path, identity: Any) -> tuple[dict[str, Any] | None, str]:
    """Return the state of an interrupted training, or else why there is none, as a sentence.

    Parameters
    ----------
    identity
        Everything that determines the course of the training, as the state has it.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError):
        return None, f"{path}: a damaged checkpoint, training starts anew"
    if state["identity"] != identity:
        return None, f"{path}: a checkpoint of another training, training starts anew"
    return state, ""


def delete_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a training that is done.

    Those that were being written when a training was killed lie beside the last one.
    """
    for path in [folder / CHECKPOINT, *folder.glob(f".{Path(CHECKPOINT).stem}-*")]:
        path.unlink(missing_ok=True)
