"""The columns of the table of scores, as docs/detectors.md names them."""

from __future__ import annotations

import pytest

from icflow.detection.columns import check_columns, columns_of
from icflow.errors import IcflowError


def test_a_detector_has_a_score_a_decision_and_a_probability() -> None:
    columns = columns_of("cae")
    assert columns == ("cae", "cae_decision", "cae_probability")
    assert (columns.score, columns.decision, columns.probability) == columns


@pytest.mark.parametrize(
    "names", [["index"], ["truth.kT"], ["cae", "cae_decision"], ["cae_probability", "cae"]]
)
def test_a_detector_whose_column_is_taken_is_refused(names: list[str]) -> None:
    with pytest.raises(IcflowError, match=rf"detectors\.{names[-1]}: .*; rename the detector"):
        check_columns(names)


def test_detectors_with_columns_of_their_own_pass() -> None:
    check_columns(["cae", "ae", "ae_deviance", "truth"])
