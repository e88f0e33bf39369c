"""How tables are shown in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def as_html(table: pd.DataFrame) -> str:
    """Return a table in HTML: six digits, nothing where a number is not there."""
    return str(table.to_html(na_rep="", float_format="{:.6g}".format, border=0))
