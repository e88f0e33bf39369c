"""What `import icflow` costs and offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import icflow


def test_importing_takes_nothing_with_it() -> None:
    code = "import icflow, sys; print(*(m for m in sys.modules if m.partition('.')[0] in set(%r)))"
    heavy = ("numpy", "numba", "pandas", "scipy", "astropy", "torch", "matplotlib", "pydantic")
    run = subprocess.run(
        [sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""


def test_every_public_name_is_there() -> None:
    assert set(icflow.__all__) < set(dir(icflow))
    # What completion offers, and nothing of how it is made.
    assert {name for name in dir(icflow) if not name.startswith("_")} == set(icflow.__all__)
    for name in icflow.__all__:
        assert getattr(icflow, name).__module__.startswith("icflow.")
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        icflow.nosuch  # noqa: B018
