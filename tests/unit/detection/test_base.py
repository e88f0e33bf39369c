"""The spectra of a part, and their classes."""

from __future__ import annotations

from by_hand import (
    SAMPLES,
    TEST,
)

from icflow.config import Dataset
from icflow.detection.base import with_ic


def test_class_is_whether_the_scenario_differs_from_training_unless_it_is_given() -> None:
    datasets = {
        "train": Dataset(scenario="2T", size=5),
        "other": Dataset(scenario="1T+IC", size=5),
        "same": Dataset(scenario="2T", size=9),
        "3T": Dataset(scenario="3T", size=9, ic=False),
    }
    assert with_ic(datasets, "train") == {"train": False, "other": True, "same": False, "3T": False}


def test_a_sample_holds_the_first_spectra_of_each_dataset() -> None:
    assert TEST.dataset.tolist() == ["hot", "hot", "ic", "ic"]
    assert TEST.index.tolist() == [0, 1, 0, 1]
    assert TEST.is_ic.tolist() == [False, False, True, True]
    assert SAMPLES["training_ic"].index.size == 0
