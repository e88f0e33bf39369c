"""What makes a result out of date: the sources that its stage consists of."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from icflow import provenance

PACKAGE = Path(provenance.__file__).parent


def parsed(text: str) -> set[str]:
    """Every module that a source imports, by Python's own parser."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if provenance._is_module(name)}


def test_every_import_of_the_package_is_seen() -> None:
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        seen = {name for name in provenance._imported(text) if provenance._is_module(name)}
        assert seen == parsed(text), path


def test_imports_are_seen_in_every_form() -> None:
    text = """
from icflow import settings as files, errors  # not statistic
from icflow.ogip.response import (
    Rmf,  # not, here, grouping
    read_rmf,
)
import icflow.tables
def later():
    from icflow.models import priors
"""
    assert set(filter(provenance._is_module, provenance._imported(text))) == parsed(text)


def test_vocabulary_is_what_reaches_a_stage_in_its_settings() -> None:
    assert provenance._is_vocabulary("icflow.config.model")
    assert provenance._is_vocabulary("icflow.settings")
    assert provenance._is_vocabulary("icflow.layout")
    for name in ("icflow.configuration", "icflow.models.priors", "icflow.statistic"):
        assert not provenance._is_vocabulary(name)


def test_vocabulary_computes_nothing() -> None:
    numerics = {"numpy", "scipy", "icflow.seeds", "icflow.statistic"}
    sources = [p for p in PACKAGE.rglob("*.py") if provenance._is_vocabulary(_dotted(p))]
    assert {PACKAGE / "settings.py", PACKAGE / "config/systematics.py"} < set(sources)
    for path in sources:
        if path.name != "typing.py":  # names of arrays
            assert not numerics & _imports(path), path


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def _imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}


def test_the_code_digest_follows_imports_and_ignores_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "icflow"
    (package / "stages").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "settings.py": "SEED = 1\n",
        "stages/__init__.py": "",
        "stages/fit.py": "from icflow import numbers, settings\n",
        "stages/train.py": "",
        "numbers.py": "def later():\n    import icflow.deep\n    import json\n",
        "deep.py": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))

    def digest() -> str:
        provenance._find.cache_clear()
        provenance._imports.cache_clear()
        return provenance.code_digest(["icflow.stages.fit"])

    try:
        before = digest()
        for name in ("stages/train.py", "settings.py"):
            (package / name).write_text("# edited\n")
            os.utime(package / "deep.py", (0, 0))
            assert digest() == before
        for name in ("stages/fit.py", "numbers.py", "deep.py"):
            (package / name).write_text(files[name] + "# edited\n")
            assert digest() != before
            (package / name).write_text(files[name])
            assert digest() == before
    finally:
        provenance._find.cache_clear()
        provenance._imports.cache_clear()


def test_versions_name_what_decides_about_numbers() -> None:
    versions = provenance.package_versions()
    assert {"python", "icflow", "numpy", "torch", "xspectrampoline"} <= set(versions)
    assert "snakemake" not in versions


def test_the_workflow_starts_without_what_only_its_jobs_need() -> None:
    rules = (PACKAGE.parents[1] / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8")
    imports = re.findall(r"^    ((?:from|import) icflow.*)$", rules, re.MULTILINE)
    assert len(imports) > 3
    slow = {"numba", "pandas", "torch", "matplotlib", "sklearn", "xspectrampoline"}
    script = "\n".join(["import sys", *imports, f"print(*{slow!r} & set(sys.modules))"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
