"""The examples of docs/developing.md, as who follows them types them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def blocks(section: str) -> list[str]:
    """Return the code of a section of the page, block by block."""
    page = (ROOT / "docs/developing.md").read_text()
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def check_style(code: str, file: str) -> None:
    """Check that code that stands at the end of a file is as `make lint` wants it."""
    path = ROOT / file
    text = f"{path.read_text()}\n\n{code}" if path.is_file() else code
    for check in (["check"], ["format", "--check"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *check, "--stdin-filename", str(path), "-"],
            input=text,
            text=True,
            cwd=ROOT,
            check=True,
        )
