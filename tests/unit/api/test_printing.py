"""Tables in a notebook."""

from __future__ import annotations

import numpy as np
import pandas as pd

from icflow.api.printing import as_html


def test_numbers_are_short_and_missing_ones_empty() -> None:
    table = pd.DataFrame({"value": [1 / 3, np.nan], "unit": ["keV", ""]}, index=["a", "b"])
    shown = as_html(table)
    assert "<td>0.333333</td>" in shown and "<td></td>" in shown
    assert "NaN" not in shown
