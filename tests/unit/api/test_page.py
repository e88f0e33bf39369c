"""The page on Python: its code runs, top to bottom."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import toy

import icflow

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_code_of_the_page_runs(root: Path, folder: Path, recwarn: Any) -> None:
    for name, instrument, norm in (("nuA01_sr", "FPMA", 1.0), ("nuB01_sr", "FPMB", 1.05)):
        files = {"RESPFILE": f"{name}.rmf", "ANCRFILE": f"{name}.arf", "INSTRUME": instrument}
        toy.save(folder / f"{name}.pha", toy.pha(toy.draw(norm=norm), **files))
        matrix = toy.rmf()
        for table in matrix:
            table.header["INSTRUME"] = instrument
        toy.save(folder / f"{name}.rmf", *matrix)
        toy.save(folder / f"{name}.arf", toy.arf(INSTRUME=instrument))
    names: dict[str, Any] = {}
    for block in BLOCK.findall((root / "docs/python.md").read_text()):
        if "icflow.observe(" not in block:  # takes minutes
            exec(compile(block, "docs/python.md", "exec"), names)
    assert names["fits"]["status"].eq("ok").all() and len(names["fits"]) == 100
    assert len(names["truth"]) == 100
    assert names["figure"].axes


def test_what_the_page_gives_to_observe_is_taken() -> None:
    signature = inspect.signature(icflow.observe)
    signature.bind(["nuA01_sr.pha", "nuB01_sr.pha"], redshift=0.023, nH=0.00858, name="Coma")
