"""Tables, their numbers as text, and what they look like to a reader."""

import math

import numpy as np
import pandas as pd
import pytest
from astropy.table import MaskedColumn, Table

from icflow import tables
from icflow.errors import IcflowError

# --- files --------------------------------------------------------------------------


def test_a_table_comes_back_with_its_metadata(tmp_path):
    table = Table({"index": [3, 4], "cstat": [1.5, np.nan]}, meta={"fit": "2T_free"})
    tables.write_table(tmp_path / "a.ecsv", table)
    tables.write_table(tmp_path / "b.ecsv", table)
    back = tables.read_table(tmp_path / "a.ecsv", ["index", "cstat"])
    assert back.meta["fit"] == "2T_free"
    assert back["index"].tolist() == [3, 4]
    assert (tmp_path / "a.ecsv").read_bytes() == (tmp_path / "b.ecsv").read_bytes()


def test_a_table_that_was_edited_or_cut_is_refused(tmp_path):
    path = tmp_path / "a.ecsv"
    tables.write_table(path, Table({"index": [3, 4], "cstat": [1.5, 2.5]}))
    whole = path.read_text()
    assert tables.read_table(path).meta == {}
    for damaged in (whole.replace("2.5", "2.4"), whole.rpartition("4")[0]):
        path.write_text(damaged)
        with pytest.raises(IcflowError, match=r"a\.ecsv: not as it was written.* delete it"):
            tables.read_table(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("not a table\n", "not a whole ECSV table"),
        ("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: int64}\na\n1\n", "lacks the co"),
    ],
)
def test_a_table_that_is_no_use_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "a.ecsv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(IcflowError, match=rf"a\.ecsv: {message}"):
        tables.read_table(path, ["index"])


def test_csv_is_read_as_it_is_written(tmp_path):
    frame = pd.DataFrame(
        {"detector": ["cae", "NA"], "flux": [math.inf, 1.23456789e-12], "n": [3, 4]}
    )
    frame["recall"] = [np.nan, 0.5]
    path = tmp_path / "a.csv"
    path.write_text(tables.csv(frame))
    assert path.read_text() == "detector,flux,n,recall\ncae,inf,3,nan\nNA,1.23457e-12,4,0.5\n"
    back = tables.read_csv(path, ["detector", "recall"])
    assert back["detector"].tolist() == ["cae", "NA"]
    assert math.isinf(back["flux"][0])
    assert math.isnan(back["recall"][0])


def test_csv_that_is_no_use_is_one_sentence(tmp_path):
    path = tmp_path / "a.csv"
    with pytest.raises(IcflowError, match=r"a\.csv: cannot be read"):
        tables.read_csv(path)
    path.write_text("")
    with pytest.raises(IcflowError, match=r"a\.csv: not a table"):
        tables.read_csv(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(IcflowError, match=r"a\.csv: lacks the columns c, d"):
        tables.read_csv(path, ["c", "a", "d"])


def test_what_stands_for_an_undefined_number_can_be_said(tmp_path):
    path = tmp_path / "job.tsv"
    path.write_text("s\tmax_rss\n1.5\tNA\n-\t20\n")
    back = tables.read_csv(path, ["s"], separator="\t", undefined=("NA", "-"))
    assert np.isnan(back["max_rss"][0])
    assert np.isnan(back["s"][1])
    assert back["s"][0] == 1.5


# --- columns and rows ---------------------------------------------------------------


def test_masked_cells_are_undefined():
    table = Table({"a": MaskedColumn([1.0, 2.0], mask=[False, True])})
    table["b"] = MaskedColumn(["x", "y"], mask=[True, False])
    np.testing.assert_array_equal(tables.floats(table, "a"), [1.0, np.nan])
    assert tables.strings(table, "b") == ["", "y"]


def test_shards_are_put_together_with_the_metadata_of_the_first():
    parts = [Table({"index": [n]}, meta={"shard": n}) for n in (0, 1)]
    whole = tables.stack(parts)
    assert whole["index"].tolist() == [0, 1]
    assert whole.meta == {"shard": 0}
    assert tables.stack(parts[1:]) is parts[1]


def test_rows_are_found_by_spectrum_in_the_order_asked_for():
    index = np.array([7, 3, 5])
    np.testing.assert_array_equal(tables.rows_of(index, np.array([5, 7]), "fits"), [2, 0])


@pytest.mark.parametrize(("index", "number"), [([7, 3], "no row"), ([5, 5], "several rows")])
def test_a_spectrum_without_one_row_is_an_error(index, number):
    with pytest.raises(IcflowError, match=rf"fits: {number} for spectrum 5"):
        tables.rows_of(np.array(index), np.array([5]), "fits")


def test_a_table_of_fits_says_what_was_free():
    table = Table({"a": [1.0]}, meta={"free": ["a"], "fit": "2T"})
    assert tables.parameters(table) == ["a"]
    table.meta["free"].append("b")
    with pytest.raises(IcflowError, match="fits 2T do not say"):
        tables.parameters(table)


# --- numbers and text ---------------------------------------------------------------


def test_numbers_keep_the_digits_asked_for():
    values = np.array([1 / 3, 123456.789, np.nan, np.inf, -0.00012345678])
    np.testing.assert_array_equal(
        tables.rounded(values, 3), [0.333, 123000.0, np.nan, np.inf, -0.000123]
    )
    single = np.float32(0.1)
    assert tables.rounded([single], 7)[0] == 0.1
    assert tables.rounded([], 7).shape == (0,)


def test_decimals_of_an_undefined_number():
    assert tables.decimal(None, 3) == tables.decimal(math.nan, 3) == "nan"
    assert tables.decimal(0.12345, 3) == "0.123"


def test_markdown_escapes_bars_and_takes_equal_headings():
    frame = pd.DataFrame([["a|b", "1", "2"]], columns=["Detector", "change", "change"])
    assert tables.markdown(frame) == (
        "| Detector | change | change |\n| --- | ---: | ---: |\n| a\\|b | 1 | 2 |"
    )
    assert tables.markdown(frame, words=2).splitlines()[1] == "| --- | --- | ---: |"


def test_latex_keeps_mathematics():
    assert tables.latex_text(r"50 % $\Delta C_{IC}$ & $x$") == r"50 \% $\Delta C_{IC}$ \& $x$"
    assert tables.latex_text(r"$\Delta$ for 5 $") == r"\$\textbackslash{}Delta\$ for 5 \$"


def test_latex_escapes_what_is_special():
    assert tables.latex_text(r"50 % of a_b\c – Δ") == (
        r"50 \% of a\_b\textbackslash{}c -- $\Delta$"
    )


def test_a_table_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a.ecsv"
    tables.write_table(path, Table({"index": [0]}, meta={"dataset": "test_2T", "fold": 0}))
    assert len(tables.read_table(path, ["index"], dataset="test_2T", fold=0, network="cae")) == 1
    with pytest.raises(IcflowError, match=r"a\.ecsv: is of fold 0, and was to be of fold 1"):
        tables.read_table(path, dataset="test_2T", fold=1)
