"""The deviance of reconstructions."""

from __future__ import annotations

import pytest
from by_hand import (
    material,
    score_table,
)

from icflow.config import Detector
from icflow.detection import detectors
from icflow.errors import IcflowError


def test_reconstruction_deviance_reads_its_own_column() -> None:
    table = score_table([1.0, 2.0], [4.0, 6.0], [1.0, 9.0, 3.0, 8.0])
    detector = Detector(title="D", method="reconstruction_deviance", network="cae")
    with pytest.raises(IcflowError, match="lack the column deviance; score the network again"):
        detectors.detect("d", detector, material({"cae": [table]}))
    table["deviance"] = 10 * table["R_a"]
    table["R_a"] = 0.0
    verdict = detectors.detect("d", detector, material({"cae": [table]}))
    assert verdict.threshold == 30.0
    assert verdict.score.tolist() == [10.0, 90.0, 30.0, 80.0]
