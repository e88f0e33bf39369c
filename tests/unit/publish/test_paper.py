"""Figures as the paper has them: what is drawn in which colour, read from the drawn axes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from drawing import Drawing
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

# The colours that the paper names, as they are drawn here.
COLOURS = {
    "#000000": "black",
    "#0072b2": "blue",
    "#6b4400": "brown",
    "#8c8c8c": "grey",
    "#dc143c": "red",
    "#e69f00": "orange",
}
WITHOUT, WITH = "test_2T", "test_1T+IC"
# Of either class: the name in legends, colour and dashes.
CLASSES = {WITHOUT: ("Without IC", "blue", "-"), WITH: ("With IC", "red", "--")}


def colour(artist: Any) -> str:
    get = artist.get_color if isinstance(artist, Line2D) else artist.get_edgecolor
    return COLOURS.get(to_hex(get()), to_hex(get()))


def steps(axes: Axes) -> dict[str, StepPatch]:
    """The stepped lines of a panel by their names."""
    patches = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    named = [patch for patch in patches if patch.get_label()]
    by_name = {str(patch.get_label()): patch for patch in named}
    assert len(by_name) == len(named)
    return by_name


def lines(axes: Axes) -> dict[str, Line2D]:
    """The lines of a panel by their names."""
    return {str(line.get_label()): line for line in axes.lines}


@pytest.fixture(scope="module")
def judged(pristine: Path) -> Table:
    return Table.read(pristine / "evaluated/evaluate/scores.ecsv", format="ascii.ecsv")


def of_class(table: Table, column: str, dataset: str) -> np.ndarray:
    return np.asarray(table[column][table["dataset"] == dataset], dtype=float)


def check_histograms(axes: Axes, table: Table, detector: str, share: bool = False) -> None:
    """The scores of either class of test spectra are counted under its name and colour."""
    drawn = steps(axes)
    assert set(drawn) == {name for name, _, _ in CLASSES.values()}
    counted = {}
    for dataset, (name, hue, dashes) in CLASSES.items():
        values, edges, _ = drawn[name].get_data()
        scores = of_class(table, detector, dataset)
        counted[dataset] = np.histogram(scores, edges)[0] / (scores.size if share else 1)
        np.testing.assert_allclose(values, counted[dataset])
        assert (colour(drawn[name]), drawn[name].get_linestyle()) == (hue, dashes)
    assert (counted[WITHOUT] != counted[WITH]).any()


def test_figure_1_has_the_total_and_each_component_in_its_colour(
    drawn: Drawing, pristine: Path
) -> None:
    table = Table.read(pristine / "evaluated/components/Coma.ecsv", format="ascii.ecsv")
    assert table.meta["truth"]["apec.kT"] > table.meta["truth"]["apec_3.kT"]
    table["total"] = table["source"] + sum(
        table[name] for name in table.colnames if name.startswith("background.")
    )
    wanted = {
        "Expected total": ("total", "black", "-"),
        "Hotter plasma": ("TBabs*apec", "red", "-"),
        "Cooler plasma": ("TBabs*apec_3", "blue", None),
        "Instrumental continuum": ("background.continuum", "brown", ":"),
        "Focused CXB": ("background.focused", "brown", "--"),
        "Aperture CXB": ("background.aperture", "brown", "-"),
        "Instrumental lines, solar": ("background.lines", "brown", "-."),
    }
    (axes,) = drawn("1").figure.axes
    found = steps(axes)
    assert set(found) == set(wanted)
    for name, (column, hue, dashes) in wanted.items():
        rates, edges, _ = found[name].get_data()
        inside = (table["energy_lo"] > edges[0] - 1e-6) & (table["energy_hi"] < edges[-1] + 1e-6)
        counts = float(np.sum(rates * np.diff(edges))) * table.meta["exposure"]
        assert counts == pytest.approx(float(table[column][inside].sum())), name
        assert colour(found[name]) == hue, name
        if dashes is not None:
            assert found[name].get_linestyle() == dashes, name
    (points,) = axes.containers
    assert (points.get_label(), colour(points[0])) == ("Simulated data", "black")
    measured = float(np.sum(points[0].get_ydata() * np.diff(edges))) * table.meta["exposure"]
    assert measured == pytest.approx(float(table["counts"][inside].sum()))


def test_figure_3_is_of_the_cae_and_of_both_classes(drawn: Drawing, judged: Table) -> None:
    density, tail = drawn("3").figure.axes
    assert density.get_legend().get_title().get_text() == "CAE"
    check_histograms(density, judged, "cae", share=True)
    curves = {colour(line): line for line in tail.lines}
    for dataset, (_, hue, dashes) in CLASSES.items():
        scores = np.sort(of_class(judged, "cae", dataset))
        np.testing.assert_allclose(curves[hue].get_xdata(), scores)
        np.testing.assert_allclose(curves[hue].get_ydata(), np.linspace(1, 1 / 60, 60))
        assert curves[hue].get_linestyle() == dashes
        (stroke,) = [line for line in density.lines if colour(line) == hue]
        assert stroke.get_xdata()[0] == pytest.approx(np.median(scores))
        assert stroke.get_linestyle() == dashes


def test_figure_4_has_the_cae_above_the_ae_each_with_its_threshold(
    drawn: Drawing, judged: Table
) -> None:
    above, below = drawn("4").figure.axes
    assert above.get_position().y0 > below.get_position().y1
    thresholds = judged.meta["thresholds"]
    assert thresholds["cae"] != thresholds["ae"]
    for panel, title, detector in ((above, "CAE", "cae"), (below, "AE", "ae")):
        assert panel.get_title("left") == title
        check_histograms(panel, judged, detector)
        (line,) = panel.lines
        assert list(line.get_xdata()) == [pytest.approx(thresholds[detector])] * 2
        assert (line.get_label(), line.get_linestyle()) == ("Threshold", "--")
        beyond = {
            dataset: int(np.sum(of_class(judged, detector, dataset) > thresholds[detector]))
            for dataset in CLASSES
        }
        assert panel.get_title("right").startswith(
            f"Beyond the threshold {beyond[WITH]} with IC, {beyond[WITHOUT]} without"
        )


def test_figure_5_has_the_curve_of_each_autoencoder_under_its_name(
    drawn: Drawing, judged: Table
) -> None:
    (axes,) = drawn("5").figure.axes
    found = lines(axes)
    is_ic = np.asarray(judged["dataset"] == WITH)
    curves = {}
    for name, detector, hue in (("CAE", "cae", "orange"), ("AE", "ae", "grey")):
        curve, marker = found[name], found[f"{name}, threshold chosen"]
        assert (colour(curve), colour(marker)) == (hue, hue)
        decided = np.asarray(judged[f"{detector}_decision"], dtype=bool)
        assert marker.get_xdata()[0] == pytest.approx(decided[is_ic].mean())
        assert marker.get_ydata()[0] == pytest.approx(is_ic[decided].mean())
        # Each spectrum is called IC with all that score higher.
        called = np.cumsum(is_ic[np.argsort(-np.asarray(judged[detector]))])
        recall, precision = called / is_ic.sum(), called / np.arange(1, is_ic.size + 1)
        curves[name] = curve.get_ydata(), np.interp(curve.get_xdata(), recall, precision)
    for name, other in (("CAE", "AE"), ("AE", "CAE")):
        shown, own = curves[name]
        away = [np.abs(shown - wanted).mean() for wanted in (own, curves[other][1])]
        assert away[0] < 0.02 < away[1]
    (half,) = [line for line in axes.lines if list(line.get_ydata()) == [0.5, 0.5]]
    assert half.get_linestyle() == "--"


def latents_of(pristine: Path, label: str) -> Mapping[str, tuple[np.ndarray, np.ndarray]]:
    """Parameters and latents of either class, read from what the figure is drawn from."""
    folder = pristine / "evaluated"
    parameter = {"kT": "apec.kT", "Z": "apec.Abundanc", "z": "apec.Redshift", "norm": "apec.norm"}
    scored = [Table.read(folder / f"score/cae/fold-{fold}.ecsv") for fold in range(2)]
    found = {}
    for dataset in CLASSES:
        kind = "label" if dataset == WITHOUT and label in ("kT", "norm") else "truth"
        files = {
            "label": f"label/{dataset}/shard-*.ecsv",
            "truth": f"simulate/{dataset}/shard-*.truth.ecsv",
        }
        shards = [Table.read(path) for path in sorted(folder.glob(files[kind]))]
        truth = np.concatenate([np.asarray(shard[parameter[label]]) for shard in shards])
        folds = [of_class(table, f"latent_{label}", dataset) for table in scored]
        found[dataset] = truth, np.median(folds, axis=0)
    return found


def test_figure_7_has_both_classes_and_the_line_of_equality_in_every_panel(
    drawn: Drawing, pristine: Path
) -> None:
    panels = [axes for axes in drawn("7").figure.axes if axes.get_visible()]
    labels = ["$kT$ (keV)", "$Z$ (solar)", "Redshift $z$", "Norm (10$^{14}$ cm$^{-5}$)"]
    assert [axes.get_xlabel() for axes in panels] == labels
    for axes, label in zip(panels, ("kT", "Z", "z", "norm"), strict=True):
        found = lines(axes)
        for dataset, points in latents_of(pristine, label).items():
            name, hue, _ = CLASSES[dataset]
            np.testing.assert_allclose(found[name].get_xydata(), np.transpose(points))
            assert (colour(found[name]), found[name].get_marker()) == (hue, "o"), label
            assert (found[name].get_markerfacecolor() == "none") == (dataset == WITH), label
            (numbers,) = [
                text
                for text in axes.texts
                if to_hex(text.get_color()) in COLOURS and COLOURS[to_hex(text.get_color())] == hue
            ]
            assert numbers.get_text()[0] == ("○" if dataset == WITH else "●")
        (equal,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert colour(equal) == "black"
        for data in (equal.get_xdata(), equal.get_ydata()):
            assert tuple(data) == axes.get_xlim() == axes.get_ylim()
