"""Bins and components of drawn fits."""

from __future__ import annotations

import numpy as np
from astropy.table import Table
from drawing import looks_without_colour

from icflow.observation.panels import Bins, Fitted, components, draw_folded
from icflow.publish.figures import style

LEAST = 10


def table(exposure: float) -> Table:
    """Two modules of 200 channels with a gap."""
    low = np.concatenate([3 + 0.1 * np.arange(100), 15 + 0.1 * np.arange(100)])
    source = exposure * low**-2.0 / 100
    made = Table({"module": np.repeat(["A", "B"], 200), "energy_lo": np.tile(low, 2)})
    made["energy_hi"] = made["energy_lo"] + 0.1
    for name in ("1T+IC/apec", "1T+IC/powerlaw", "1T+IC/unfolded/apec", "1T+IC/unfolded/powerlaw"):
        made[name] = np.tile(source, 2)
    made["1T+IC/background.file"] = np.full(400, exposure / 1e4)
    expected = made["1T+IC/apec"] + made["1T+IC/powerlaw"] + made["1T+IC/background.file"]
    made["counts"] = np.random.default_rng(1).poisson(expected)
    made.meta.update(exposure={"A": exposure, "B": exposure}, ic="powerlaw")
    return made


def test_drawn_bins_hold_counts_and_no_gap() -> None:
    made = table(2e3)
    bins = Bins(made, LEAST)
    held = bins.sum(np.asarray(made["counts"], dtype=float))
    assert held.sum() == made["counts"].sum()
    # The last bin before a gap takes what there is.
    before = {99, 199, 299, 399}
    ends = bins.stops - 1
    assert before <= set(ends.tolist())
    assert all(count >= LEAST for count, end in zip(held, ends, strict=True) if end not in before)
    assert len(Bins(made).starts) > len(bins.starts)


def test_components_are_source_and_background() -> None:
    made = table(1e5)
    parts = components(made, "1T+IC")
    assert [part.column for part in parts] == [
        "1T+IC/apec", "1T+IC/powerlaw", "1T+IC/background.file",
    ]  # fmt: skip
    assert [part.title for part in parts] == ["Plasma", "Inverse Compton", "Background"]
    model = Fitted(made, parts, Bins(made))
    assert [part.column for part in model.source] == ["1T+IC/apec", "1T+IC/powerlaw"]
    background = model.total - model.folded
    assert background.sum() == 400 * 1e5 / 1e4
    assert model.counts.sum() == made["counts"].sum()


def test_components_are_told_apart_without_colours() -> None:
    made = table(1e5)
    _, axes = style.grid(1, 1, 5, 3)
    draw_folded(axes[0, 0], Fitted(made, components(made, "1T+IC"), Bins(made)))
    looks = looks_without_colour(axes[0, 0])
    assert {"Plasma", "Inverse Compton", "Background", "Best fit"} < set(looks)
    lines = {name: look for name, look in looks.items() if not name.startswith("Data")}
    assert len(set(lines.values())) == len(lines), lines
