"""What tests of figures share."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from drawing import Drawing, Drawn

from icflow.config import Config
from icflow.layout import Layout
from icflow.publish.figures import registry, style


@pytest.fixture(scope="package")
def drawn(config: Config, pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Drawing:
    """Every figure of the run in its formats, drawn once."""
    folder = tmp_path_factory.mktemp("drawn")

    @cache
    def write(name: str) -> Drawn:
        settings = registry.settings(config, name)
        inputs = registry.inputs(config, name, Layout(pristine / "evaluated"))
        paths = [folder / path.name for path in registry.outputs(config, name, Layout())]
        figures: list[style.Figure] = []

        def draw() -> style.Figure:
            figures.append(registry.draw(settings, inputs))
            return figures[0]

        style.write(draw, settings.figures.dpi, paths)
        return Drawn(figures[0], paths)

    return write
