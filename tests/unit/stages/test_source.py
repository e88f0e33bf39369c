"""`icflow source`: what environments and images are made from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icflow.cli import main


@pytest.fixture
def source(tmp_path: Path) -> Path:
    assert main(["source", str(tmp_path / "source")]) == 0
    return tmp_path / "source"


def test_it_holds_the_package_and_what_pip_needs(source: Path, root: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "src/icflow/cli.py"):
        assert (source / name).read_bytes() == (root / name).read_bytes()
    assert not [path for path in source.rglob("*") if path.is_symlink()]
    assert not list(source.rglob("__pycache__"))


def test_it_holds_what_the_definitions_of_images_copy(source: Path) -> None:
    definitions = list((source / "containers").glob("*.def"))
    assert len(definitions) == 2
    for definition in definitions:
        text = definition.read_text()
        files = re.search(r"^%files\n(.*?)\n\n", text, re.MULTILINE | re.DOTALL)
        assert files is not None
        for line in files[1].splitlines():
            assert (source / line.split()[0]).exists(), line


def test_nothing_is_overwritten(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["source", str(source)]) == 1
    assert "is there and not empty" in capsys.readouterr().err
