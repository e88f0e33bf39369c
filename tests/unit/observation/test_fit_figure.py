"""The figure of a fit, of a made-up table."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from drawing import looks_without_colour

from icflow.observation.fit_figure import NAME, draw


def table(exposure: float = 1e5) -> Table:
    """Two modules of 200 channels with a gap, a power law on a background."""
    random = np.random.default_rng(1)
    low = np.concatenate([3 + 0.1 * np.arange(100), 15 + 0.1 * np.arange(100)])
    parts = []
    for factor in (1.0, 0.5):
        source, rest = factor * exposure * low**-2.0 / 100, np.full(200, exposure / 1e4)
        parts.append((source, rest, random.poisson(source + rest)))
    source, rest, counts = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    energies = np.tile(low, 2)
    made = Table({"module": np.repeat(["A", "B"], 200), "energy_lo": energies})
    made["energy_hi"], made["counts"] = energies + 0.1, counts
    made[f"{NAME}/TBabs*powerlaw"], made[f"{NAME}/background.file"] = source, rest
    made[f"{NAME}/unfolded/TBabs*powerlaw"] = np.full(400, 0.01)
    made.meta["exposure"] = {"A": exposure, "B": exposure}
    return made


@pytest.mark.parametrize(("unfolded", "panels"), [(False, 2), (True, 3)])
def test_data_components_and_residuals_are_drawn(unfolded: bool, panels: int) -> None:
    figure = draw(table(), "W = 400.0, 398 dof", unfolded)
    assert len(figure.axes) == panels
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == ["TBabs*powerlaw", "Background"]
    assert {"Data A", "Data B", "Best fit"} < set(labels)
    assert "398 dof" in figure.axes[0].texts[0].get_text()
    low, high = figure.axes[0].get_ylim()
    assert 0 < low < high
    assert figure.axes[-1].get_xlabel() == "Energy (keV)"


def test_terms_are_told_apart_without_colours() -> None:
    made = table()
    for name in ("", "unfolded/"):
        made[f"{NAME}/{name}TBabs*apec"] = 2 * made[f"{NAME}/{name}TBabs*powerlaw"]
    looks = looks_without_colour(draw(made, "", False).axes[0])
    terms = {name: look for name, look in looks.items() if not name.startswith("Data")}
    assert set(terms) == {"TBabs*powerlaw", "TBabs*apec", "Background", "Best fit"}
    assert len(set(terms.values())) == len(terms), terms
