"""What networks are computed on."""

from __future__ import annotations

import pytest
import torch
from small_networks import SAMPLE, SELECTION, make_settings

from icflow.errors import IcflowError
from icflow.networks import devices
from icflow.networks.training import train


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(IcflowError, match="torch finds no GPU; use auto or cpu"):
        train(make_settings(training__device="cuda"), SAMPLE, SELECTION)
    assert devices.choose_device("auto") == torch.device("cpu")
