"""Published values, against the table of the paper."""

from __future__ import annotations

from icflow.detection.published import PUBLISHED


def test_published_values_are_those_of_the_paper() -> None:
    """Table 1 of Lin et al. (2024): precision, recall and balanced accuracy."""
    found = {name: (row.precision, row.recall, row.bacc) for name, row in PUBLISHED.items()}
    assert found == {
        "cae": (0.69, 0.50, 0.64),
        "ae": (0.64, 0.25, 0.55),
        "one_start_fixed": (0.54, 0.62, 0.55),
        "one_start_free": (0.47, 0.42, 0.47),
    }
