"""What all tests of networks share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from icflow.networks import devices


@pytest.fixture(autouse=True, scope="module")
def prepared() -> Iterator[None]:
    """One thread and deterministic algorithms, as in the stages."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    devices.prepare(1)
    yield
    torch.set_num_threads(before[0])
    torch.set_deterministic_debug_mode(before[1])
