"""Checkpoints: which are taken up, and what is left behind."""

from __future__ import annotations

from pathlib import Path

import torch

from icflow.networks.checkpoints import CHECKPOINT, delete_checkpoint, read_checkpoint


def test_a_state_is_taken_up_by_the_training_that_it_is_of(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    torch.save({"identity": {"seed": 1}, "step": 7}, path)
    assert read_checkpoint(path, {"seed": 1}) == ({"identity": {"seed": 1}, "step": 7}, "")
    assert read_checkpoint(path, {"seed": 2})[0] is None
    path.write_bytes(b"PK damaged")
    state, reason = read_checkpoint(path, {"seed": 1})
    assert state is None
    assert reason == f"{path}: a damaged checkpoint, training starts anew"


def test_nothing_of_a_checkpoint_is_left(tmp_path: Path) -> None:
    for name in (CHECKPOINT, ".checkpoint-123.pt", "weights.safetensors"):
        (tmp_path / name).touch()
    delete_checkpoint(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
