"""What is measured of all detectors, as tables."""

from __future__ import annotations

from icflow.publish import measures

METRICS = {
    "detectors": {
        "a": {
            "title": "A | B",
            "auc": {"value": 0.75, "lo": 0.7, "hi": 0.8},
            "brier": {"value": None, "lo": None, "hi": None},
            "n_test": 4,
        }
    }
}


def test_numbers_stand_with_their_intervals() -> None:
    frame = measures.frame(METRICS, ["auc", "brier"])
    assert frame.columns.tolist() == ["Detector", "Area under ROC", "Brier score"]
    assert frame.to_numpy().tolist() == [["A | B", "0.750 (0.700–0.800)", "undefined"]]


def test_everything_that_is_measured_is_in_the_file() -> None:
    assert measures.csv(METRICS).splitlines() == [
        "detector,quantity,value,lo,hi",
        "a,auc,0.750000,0.700000,0.800000",
        "a,brier,nan,nan,nan",
    ]
