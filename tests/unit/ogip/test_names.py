"""Names of files with suffixes, gzipped, or from another machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from icflow.ogip.names import FileName, beside, plain


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("resp.rmf", ("resp.rmf", "", None, None)),
        ("resp.rmf[MATRIX]", ("resp.rmf", "MATRIX", None, None)),
        ("both.pha[SPECTRUM,2]", ("both.pha", "SPECTRUM", 2, None)),
        ("a/two.pha{2}", ("a/two.pha", "", None, 2)),
        ("two.pha[1]{12}", ("two.pha", "1", None, 12)),
    ],
)
def test_suffixes(name: str, parts: tuple[str, str, int | None, int | None]) -> None:
    assert FileName.of(name) == FileName(*parts)


def test_a_file_of_that_very_name_has_no_suffix(tmp_path: Path) -> None:
    (tmp_path / "odd[1].pha").touch()
    assert FileName.of(tmp_path / "odd[1].pha").path == str(tmp_path / "odd[1].pha")


def test_companions_beside_the_spectrum(tmp_path: Path) -> None:
    spectrum = tmp_path / "spec.pha"
    (tmp_path / "resp.rmf").touch()
    (tmp_path / "area.arf.gz").touch()
    assert beside(spectrum, "resp.rmf[MATRIX]") == tmp_path / "resp.rmf[MATRIX]"
    assert beside(spectrum, "area.arf") == tmp_path / "area.arf.gz"
    assert beside(spectrum, "resp.rmf.gz") == tmp_path / "resp.rmf"
    assert beside(spectrum, "/data/me/rmf/resp.rmf") == tmp_path / "resp.rmf"
    assert beside(Path(f"{spectrum}{{2}}"), "resp.rmf{2}") == tmp_path / "resp.rmf{2}"
    assert beside(spectrum, "other.rmf") is None
    assert plain(tmp_path / "area.arf") == tmp_path / "area.arf.gz"
