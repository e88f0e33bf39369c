"""What the report and the pages of results share: templates, small images, commands."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from icflow.files import atomic_path
from icflow.publish.figures import style

DPI = 100
UNRECORDED = "not recorded: no git"  # the revision of a copy without history
COLOURS = 256  # of an image: its files stay small, its lines sharp


def fill(template: str, **values: Any) -> str:
    """Return a template of this package with its values, escaped where it is HTML."""
    environment = Environment(
        loader=PackageLoader("icflow.publish"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)


def options(files: Sequence[str]) -> str:
    """Return the files laid over the first one as a command line names them."""
    return "".join(f" {shlex.quote(file)}" for file in files[1:])


def draw_small(draw: Callable[[], style.Figure], output: Path) -> None:
    """Draw a figure for a page as PNG with few colours."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "drawn.png"
        style.write(draw, DPI, [drawn])
        with Image.open(drawn) as image, atomic_path(output) as temporary:
            plain = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
            plain.save(temporary, optimize=True)
