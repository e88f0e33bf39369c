"""Figures of a made-up run: drawn, deterministic, with units, and robust."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from astropy.table import Table
from drawing import Drawing, looks_without_colour
from examples import blocks, check_style
from matplotlib.axis import Axis
from matplotlib.text import Text

from icflow import config as configuration
from icflow.config import Config
from icflow.detection import metrics
from icflow.detection.base import SEES
from icflow.detection.published import PUBLISHED
from icflow.detection.roc import Curve
from icflow.errors import IcflowError
from icflow.layout import Layout
from icflow.publish.figures import (
    architecture,
    base,
    dependence,
    efficiency,
    every_dependence,
    example_spectra,
    forest,
    judged,
    latents,
    reconstruction_errors,
    registry,
    reliability,
    style,
)
from icflow.publish.figures.base import FigureSettings
from icflow.tables import write_table


def draw(config: Config, results: Path, name: str) -> object:
    with style.context():
        # Settings as the workflow hands them over.
        text = registry.settings(config, name).json_text()
        return registry.draw(
            configuration.from_json(FigureSettings, text),
            registry.inputs(config, name, Layout(results)),
        )


def changed(config: Config, above: dict) -> Config:
    tree = config.model_dump(mode="json", exclude_none=True)
    return configuration.validate(configuration.overlay(tree, above), "test")


@pytest.mark.parametrize("name", list(registry.FIGURES))
def test_figures_are_drawn_at_journal_width(config: Config, drawn: Drawing, name: str) -> None:
    paths = drawn(name).paths
    assert [path.name for path in paths] == [
        f"{registry.file_name(name)}.{suffix}" for suffix in ("pdf", "png")
    ]
    pixels = matplotlib.image.imread(paths[1])
    assert pixels.shape[1] == round(style.DOUBLE_COLUMN * config.figures.dpi)
    # Something is drawn, and the margins are white.
    assert (pixels[..., :3].min(axis=-1) < 0.5).mean() > 0.005
    pdf = paths[0].read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


@pytest.mark.parametrize("name", list(registry.FIGURES))
def test_axes_have_labels_and_legible_text(drawn: Drawing, name: str) -> None:
    figure = drawn(name).figure
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_visible()]
    assert min(t.get_fontsize() for t in texts if t.get_text().strip()) >= 7
    if name == "2":  # a drawing, not a plot
        return
    shared = [axes for axes in figure.axes if axes.get_visible()]
    assert any(axes.get_xlabel() for axes in shared)
    assert any(axes.get_ylabel() for axes in shared)


@pytest.mark.parametrize("name", list(registry.FIGURES))
def test_lines_are_told_apart_without_colours(drawn: Drawing, name: str) -> None:
    for axes in drawn(name).figure.axes:
        looks = looks_without_colour(axes)
        assert len(set(looks.values())) == len(looks), looks


def numbers_of(axis: Axis) -> list[Text]:
    """The numbers of a drawn axis that are seen, in their order."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-6 * (high - low)
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    inside = [tick for tick in ticks if low - slack <= tick.get_loc() <= high + slack]
    labels = [tick.label1 for tick in sorted(inside, key=lambda tick: tick.get_loc())]
    return [label for label in labels if label.get_visible() and label.get_text()]


@pytest.mark.parametrize("name", list(registry.FIGURES))
def test_words_are_whole_and_apart(drawn: Drawing, name: str) -> None:
    figure = drawn(name).figure
    gap = 3 * figure.dpi / 72  # points, in pixels
    # A drawing has no axes.
    for axes in (axes for axes in figure.axes if axes.get_visible() and axes.axison):
        numbers = [numbers_of(axis) for axis in (axes.xaxis, axes.yaxis)]
        words = [axes.title, axes.xaxis.label, axes.yaxis.label, *itertools.chain(*numbers)]
        if (legend := axes.get_legend()) is not None:
            words += legend.get_texts()
        for text in (text for text in words if text.get_text()):
            box = text.get_window_extent()
            assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1, text
            assert figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, text
        level = [text.get_window_extent() for text in numbers[0] if not text.get_rotation()]
        for left, right in itertools.pairwise(level):
            assert left.x1 + gap <= right.x0, [text.get_text() for text in numbers[0]]
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1


def test_units_are_on_the_axes(drawn: Drawing) -> None:
    labels = {
        name: {
            text
            for axes in drawn(name).figure.axes
            for text in (axes.get_xlabel(), axes.get_ylabel())
            if text
        }
        for name in ("1", "3", "4", "7", "8", "reconstructions")
    }
    assert labels["1"] == {style.ENERGY, style.RATE}
    assert style.ENERGY in labels["reconstructions"]
    assert all("keV" in text for text in labels["reconstructions"])
    for name in ("3", "4"):
        assert any("counts s" in text for text in labels[name])
    for name in ("7", "8"):
        assert any("keV" in text for text in labels[name])
        assert any("solar" in text for text in labels[name])
        assert any("cm" in text for text in labels[name])


def test_bytes_are_the_same_in_another_process(
    config: Config, pristine: Path, drawn: Drawing, tmp_path: Path
) -> None:
    script = (
        "import json, sys; from pathlib import Path; from icflow.config import from_json\n"
        "from icflow.publish.figures.base import FigureSettings\n"
        "from icflow.publish.figures import registry\n"
        "for text, inputs, outputs in json.load(sys.stdin):\n"
        "    settings = from_json(FigureSettings, text)\n"
        "    registry.write(settings, list(map(Path, inputs)), list(map(Path, outputs)))"
    )
    # With many lines, an image within vector graphics, text; a drawing, components of spectra and
    # histograms are Figures 1 to 4, which test_kills.py compares.
    names = ("6", "7", "roc", "efficiency")
    here = {path.name: path for name in names for path in drawn(name).paths}
    sets = [(name, [path.name for path in drawn(name).paths]) for name in names]
    # Nothing is drawn for the web by default.
    here["web.svg"] = tmp_path / "here.svg"
    sets.append(("7", ["web.svg"]))
    tasks = []
    for name, outputs in sets:
        settings = registry.settings(config, name)
        inputs = registry.inputs(config, name, Layout(pristine / "evaluated"))
        there = [str(tmp_path / output) for output in outputs]
        tasks.append((settings.json_text(), list(map(str, inputs)), there))
    registry.write(settings, inputs, [here["web.svg"]])
    command = [sys.executable, "-c", script]
    subprocess.run(command, input=json.dumps(tasks), text=True, check=True)
    for name, path in here.items():
        assert path.read_bytes() == (tmp_path / name).read_bytes(), name


def test_a_users_matplotlibrc_changes_nothing(
    config: Config, evaluated: Path, tmp_path: Path
) -> None:
    import matplotlib

    settings = registry.settings(config, "6")
    inputs = registry.inputs(config, "6", Layout(evaluated))
    registry.write(settings, inputs, [tmp_path / "plain.png"])
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        registry.write(settings, inputs, [tmp_path / "odd.png"])
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "odd.png").read_bytes()


def test_unknown_figures_and_formats_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match="no figure 99; choose one of 1, 2"):
        registry.settings(config, "99")
    with pytest.raises(IcflowError, match=r"figure1\.gif: figures are written as \.pdf"):
        registry.write(registry.settings(config, "1"), [], [tmp_path / "figure1.gif"])


def test_settings_hold_only_what_a_figure_depends_on(config: Config) -> None:
    longer = changed(config, {"autoencoder": {"training": {"epochs": 77}}})
    faster = changed(config, {"detection": {"bootstrap": 333}})
    same = [
        n for n in registry.FIGURES if registry.settings(config, n) == registry.settings(longer, n)
    ]
    assert set(same) == set(registry.FIGURES) - {"2", "7", "losses"}
    same = [
        n for n in registry.FIGURES if registry.settings(config, n) == registry.settings(faster, n)
    ]
    assert set(same) == {"1", "2", "6", "7", "examples", "losses", "confusion"}


def test_every_figure_says_what_it_shows(config: Config) -> None:
    for name in registry.FIGURES:
        words = registry.words(config, name)
        assert len(words["alt"]) > 40
        assert words["caption"].endswith(".")
        assert "  " not in words["caption"]
        assert words["title"] not in ("", words["caption"], words["alt"])


def test_captions_follow_the_settings(config: Config) -> None:
    longer = changed(config, {"autoencoder": {"training": {"epochs": 77}}})
    assert "77 epochs" in registry.kind("7").caption(longer)
    assert "77 epochs" not in registry.kind("7").caption(config)
    own = changed(longer, {"autoencoder": {"networks": {"cae": {"epochs": 55}}}})
    assert "55 epochs" in registry.kind("7").caption(own)


def test_captions_say_how_folds_are_joined_and_what_was_chosen_here(config: Config) -> None:
    scaled = "median of 2 trained folds, each scaled to have the threshold that is the median"
    one = changed(config, {"autoencoder": {"training": {"folds_trained": 1}}})
    for name in ("3", "4"):
        assert scaled in registry.caption(config, name)
        assert "median of 1 trained fold)" in registry.caption(one, name)
    chosen = "Of Coma apec.Abundanc, apec.norm, apec_3.norm are chosen here"
    none = changed(config, {"figures": {"cluster": None}})
    assert chosen in registry.caption(config, "1")
    for name in ("1", "8"):
        assert "chosen here" not in registry.caption(none, name)
    marked = (
        "Coma as configured, its redshift published, its metallicity chosen here; its temperature "
        "is the mean of those of its plasmas, published, weighted with their norms, chosen here, "
        "and its norm is the sum of these."
    )
    assert marked in registry.caption(config, "8")
    hotter = changed(config, {"datasets": {"Coma": {"parameters": {"apec.kT": 8.0}}}})
    assert "those of its plasmas, chosen here" in registry.caption(hotter, "8")
    assert "0.5 % of the latents may lie outside" in registry.caption(config, "7")


def test_captions_name_the_colours_of_what_the_spectra_hold(config: Config) -> None:
    two = "black, the total; red, the hotter plasma; blue, the cooler one; brown, the backgrounds."
    assert two in registry.caption(config, "1")
    both = "red, the hotter or only plasma; blue, the cooler one; green, inverse Compton emission;"
    assert both in registry.caption(config, "examples")
    alone = changed(config, {"figures": {"cluster": "test_1T+IC"}})
    assert "red, the only plasma; green, inverse" in registry.caption(alone, "1")


# --- grouping and edges -------------------------------------------------------------


def test_groups_span_the_ratio_and_cover_all_channels() -> None:
    low = 3 + 0.04 * np.arange(2000)
    starts = style.log_groups(low, low + 0.04, 1.03)
    edges = style.stairs_edges(low, low + 0.04, starts)
    assert edges[0] == low[0]
    assert edges[-1] == pytest.approx(low[-1] + 0.04)
    ratio = edges[1:] / edges[:-1]
    assert (ratio[:-1] >= 1.03 * (1 - 1e-8)).all()
    assert (np.diff(starts) >= 1).all()
    # Counts are conserved.
    assert np.add.reduceat(np.ones(2000), starts).sum() == 2000


def test_groups_of_one_channel() -> None:
    assert style.log_groups(np.array([3.0]), np.array([3.04]), 1.5).tolist() == [0]


@pytest.mark.parametrize(
    ("values", "logarithmic"),
    [
        ([1e-4, 1e-3], True),
        ([1e-4, 1e-4], True),
        ([-1.0, 2.0], False),
        ([0.0, 0.0], False),
        ([np.nan], False),
        ([], False),
        ([1e-4, np.nan, np.inf], True),
    ],
)
def test_histogram_bins_hold_every_finite_value(values: list[float], logarithmic: bool) -> None:
    data = np.array(values, dtype=float)
    edges, is_logarithmic = reconstruction_errors.bin_edges(data)
    assert is_logarithmic == logarithmic
    assert (np.diff(edges) > 0).all()
    finite = data[np.isfinite(data)]
    assert np.histogram(finite, edges)[0].sum() == finite.size


# --- figure 1 -----------------------------------------------------------------------


def test_components_are_named_by_what_they_are(config: Config, results: Path) -> None:
    tables = {
        name: Table.read(results / f"components/{name}.ecsv", format="ascii.ecsv")
        for name in config.detection.test
    }
    kinds = {
        name: {column: title for column, title, _, _ in example_spectra.components(table)}
        for name, table in tables.items()
    }
    truth = tables["test_2T"].meta["truth"]
    hot, cool = "TBabs*apec", "TBabs*apec_3"
    if truth["apec.kT"] < truth["apec_3.kT"]:
        hot, cool = cool, hot
    assert kinds["test_2T"][hot] == "Hotter plasma"
    assert kinds["test_2T"][cool] == "Cooler plasma"
    assert kinds["test_1T+IC"]["TBabs*apec"] == "Plasma"
    assert kinds["test_1T+IC"]["TBabs*powerlaw"] == "Inverse Compton"
    assert kinds["test_1T+IC"]["background.aperture"] == "Aperture CXB"
    assert "source" not in kinds["test_2T"]


@pytest.mark.parametrize(
    ("term", "component"),
    [("TBabs*apec_3", "apec_3"), ("apec", "apec"), ("TBabs(zashift(apec))", "apec")],
)
def test_last_component_of_a_term(term: str, component: str) -> None:
    assert example_spectra.last_component(term) == component


def test_components_without_exposure_are_refused(config: Config, results: Path) -> None:
    path = results / "components/Coma.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    del table.meta["exposure"]
    write_table(path, table)
    with pytest.raises(IcflowError, match=r"Coma\.ecsv: needs .* exposure"):
        draw(config, results, "1")


# --- figure 2 -----------------------------------------------------------------------


@pytest.mark.parametrize("length", [2960, 300])
def test_blocks_are_those_of_the_network(config: Config, length: int) -> None:
    import torch

    from icflow.networks import network

    shape = config.autoencoder.architecture
    model = network.PublishedAutoencoder(shape, length).eval()
    stages: list[tuple[int, int]] = []
    units: list[int] = []
    for module in model.modules():
        if isinstance(module, network.DownStage | network.UpStage):
            module.register_forward_hook(
                lambda _module, _inputs, output: stages.append((output.shape[1], output.numel()))
            )
        if isinstance(module, torch.nn.Linear):
            units.append(module.out_features)
    output, latents = model(torch.zeros(1, length))
    parts = architecture.blocks(shape, length)
    assert stages == [
        (p.channels, p.channels * p.length) for p in parts if p.kind in ("down", "up")
    ]
    assert units == [p.channels * p.length for p in parts if p.kind in ("dense", "latent")]
    assert next(p.length for p in parts if p.kind == "latent") == latents.shape[1]
    assert parts[0] == parts[-1] == architecture.Block("spectrum", output.shape[1])


@pytest.mark.parametrize("stages", [3, 9])
def test_a_network_of_any_depth_fits_on_the_page(
    config: Config, evaluated: Path, stages: int
) -> None:
    deep = changed(config, {"autoencoder": {"architecture": {"widths": [32] * stages}}})
    network = draw(deep, evaluated, "2").axes[1]
    boxes = [
        patch.get_extents().transformed(network.transData.inverted()) for patch in network.patches
    ]
    assert min(box.x0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= style.DOUBLE_COLUMN


def test_a_threshold_beyond_all_spectra_is_drawn(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table.meta["thresholds"]["cae"] = 10 * float(np.nanmax(table["cae"]))
    write_table(path, table)
    axes = draw(config, evaluated, "4").axes[0]
    (threshold,) = [line for line in axes.lines if line.get_label() == "Threshold"]
    assert threshold.get_xdata()[0] <= axes.get_xlim()[1]


# --- reconstructions, figure 7 -------------------------------------------------------------------


def test_example_that_was_not_scored_is_named(config: Config, results: Path) -> None:
    other = changed(config, {"figures": {"example": 3}})
    with pytest.raises(IcflowError, match="no reconstruction of spectrum 3 of the dataset test_2T"):
        draw(other, results, "reconstructions")


def test_bias_and_scatter_of_a_gaussian_with_outliers() -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(0, 1, 20000)
    latent = truth + 0.1 + 0.2 * random.normal(size=truth.size)
    latent[:200] = 1e3
    bias, scatter = latents.bias_and_scatter(truth, latent)
    assert bias == pytest.approx(0.1, abs=0.01)
    assert scatter == pytest.approx(0.2, rel=0.03)


def test_latents_stand_beside_what_they_were_taught(config: Config, evaluated: Path) -> None:
    """Fitted temperatures without IC, the true ones with it; metallicities as simulated."""
    settings = registry.settings(config, "7")
    data = base.FigureData(settings, registry.inputs(config, "7", Layout(evaluated)))
    points = latents.read(data, ["kT", "Z"])
    truths = {
        name: Table.read(evaluated / f"simulate/{name}/shard-0000.truth.ecsv", format="ascii.ecsv")
        for name in config.detection.test
    }
    fits = Table.read(evaluated / "label/test_2T/shard-0000.ecsv", format="ascii.ecsv")
    size = len(fits)
    np.testing.assert_allclose(points["kT"][False].truth[:size], fits["apec.kT"])
    with_ic = truths["test_1T+IC"]
    np.testing.assert_allclose(points["kT"][True].truth[:size], with_ic["apec.kT"])
    np.testing.assert_allclose(points["Z"][True].truth[:size], with_ic["apec.Abundanc"])
    scores = [
        Table.read(evaluated / f"score/cae/fold-{fold}.ecsv", format="ascii.ecsv")
        for fold in range(2)
    ]
    both = np.array([t["latent_kT"][t["dataset"] == "test_1T+IC"] for t in scores])
    np.testing.assert_allclose(points["kT"][True].latent, both.mean(axis=0))


def test_latents_without_a_label_fit_are_told(config: Config, evaluated: Path) -> None:
    path = evaluated / "label/test_2T/shard-0001.ecsv"
    write_table(path, Table.read(path, format="ascii.ecsv")[1:])
    with pytest.raises(IcflowError, match="test spectra of test_2T: no row for spectrum 30"):
        draw(config, evaluated, "7")


def test_only_spectra_without_ic_need_label_fits(config: Config) -> None:
    names = {path.parts[-2] for path in registry.inputs(config, "7", Layout(Path()))}
    assert "test_2T" in names
    assert "test_1T+IC" not in names
    # A fit that freezes what the spectra were not simulated with cannot be made.
    other = changed(
        config,
        {
            "scenarios": {
                "hot": {
                    "expression": "bremss",
                    "parameters": {"bremss.kT": 5.0, "bremss.norm": 1.0},
                }
            },
            "datasets": {"hot": {"scenario": "hot", "size": 60, "ic": False}},
        },
    )
    detection = other.detection.model_copy(update={"test": ["hot", "test_1T+IC"]})
    other = other.model_copy(update={"detection": detection})
    names = {path.parts[-2] for path in registry.inputs(other, "7", Layout(Path()))}
    assert "hot" not in names


# --- figure 4 -----------------------------------------------------------------------


def test_counts_beyond_the_threshold() -> None:
    score = np.array([1.0, 3.0, 4.0, 5.0, np.nan])
    is_ic = np.array([False, False, True, True, True])
    text = reconstruction_errors.beyond(score, is_ic, 2.0)
    assert text == "Beyond the threshold 2 with IC, 1 without: 2.00 to 1"
    text = reconstruction_errors.beyond(score, is_ic, 3.0)
    assert text == "Beyond the threshold 2 with IC, 0 without"


# --- figure 8 -----------------------------------------------------------------------


def test_two_plasmas_share_the_axes_of_one() -> None:
    table = Table(
        {
            "truth.apec.kT": [2.0, 5.0],
            "truth.apec.norm": [0.3, 0.4],
            "truth.apec.Abundanc": [0.2, 0.3],
            "truth.apec.Redshift": [0.05, 0.06],
            "truth.apec_3.kT": [8.0, np.nan],
            "truth.apec_3.norm": [0.1, np.nan],
            "truth.powerlaw.norm": [np.nan, 1e-3],
        }
    )
    found = dependence.observables(table)
    assert list(found) == ["z", "kT", "Z", "norm"]
    np.testing.assert_allclose(found["kT"], [(0.3 * 2 + 0.1 * 8) / 0.4, 5.0])
    np.testing.assert_allclose(found["norm"], [0.4, 0.4])
    np.testing.assert_allclose(found["z"], [0.05, 0.06])


def test_quantities_that_some_spectra_lack_are_left_out() -> None:
    table = Table({"truth.apec.Redshift": [0.05, np.nan], "truth.apec.Abundanc": [0.2, 0.3]})
    assert list(dependence.observables(table)) == ["Z"]


def test_bins_with_one_class_or_none() -> None:
    values = np.array([0.5, 0.5, 1.5, 3.5, 4.0])
    is_ic = np.array([True, False, True, True, True])
    decision = np.array([True, True, False, True, True])
    binned = dependence.in_bins(values, np.arange(5.0), decision, is_ic, "x")
    recall = [estimate.value for estimate in binned["recall"]]
    np.testing.assert_array_equal(recall, [1.0, 0.0, np.nan, 1.0])
    accuracy = [estimate.value for estimate in binned["bacc"]]
    np.testing.assert_array_equal(accuracy, [0.5, np.nan, np.nan, np.nan])


def test_a_class_without_spectra_in_the_range_is_named() -> None:
    values, is_ic = np.array([0.1, 0.2, 0.5, 0.6]), np.array([True, True, False, False])
    edges = dependence.bin_edges(values[is_ic], 3)
    assert dependence.absent(values, edges, is_ic) == "No spectra without IC\nin this range"
    assert dependence.absent(values, np.linspace(0.0, 1.0, 4), is_ic) == ""
    assert dependence.absent(values, np.array([0.4, 1.0]), is_ic).startswith("No spectra with IC")


@pytest.mark.parametrize("name", ["3", "4", "5", "roc", "precision_recall", "efficiency"])
def test_a_class_without_scores_is_named_in_the_panel(
    config: Config, evaluated: Path, name: str
) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    detectors = config.detection.detectors
    for detector in detectors:
        table[detector][~np.asarray(table["is_ic"], dtype=bool)] = np.nan
    write_table(path, table)
    words = "No spectra without IC\nhave a score"
    for axes in draw(config, evaluated, name).axes[:1]:
        assert [text.get_text() for text in axes.texts].count(words) == 1
    table["cae"] = np.arange(len(table))
    write_table(path, table)
    if name == "5":
        (text,) = draw(config, evaluated, name).axes[0].texts
        assert text.get_text() == f"AE:\n{words}"


def test_precision_in_a_bin_does_not_depend_on_how_full_it_is() -> None:
    # Recall 1/2 and false-alarm rate 1/4 in both bins, IC common in one and rare in the other.
    common = metrics.Confusion(tp=40, fn=40, fp=1, tn=3)
    rare = metrics.Confusion(tp=2, fn=2, fp=20, tn=60)
    decision, is_ic, values = [], [], []
    for number, counts in enumerate((common, rare)):
        for outcome, truth, size in (
            (True, True, counts.tp),
            (False, True, counts.fn),
            (True, False, counts.fp),
            (False, False, counts.tn),
        ):
            decision += [outcome] * size
            is_ic += [truth] * size
            values += [number + 0.5] * size
    binned = dependence.in_bins(
        np.array(values), np.arange(3.0), np.array(decision), np.array(is_ic), "x"
    )
    first, second = (estimate.value for estimate in binned["precision"])
    assert first == pytest.approx(2 / 3)
    assert second == pytest.approx(2 / 3)


@pytest.mark.parametrize("values", [[], [0.3, 0.3]])
def test_bin_edges_without_a_range(values: list[float]) -> None:
    edges = dependence.bin_edges(np.array(values), 6)
    assert edges.size == 7
    assert (np.diff(edges) > 0).all()


def test_confusion_matrices_of_more_detectors_fill_more_rows(
    config: Config, evaluated: Path
) -> None:
    path = evaluated / "evaluate/metrics.json"
    content = json.loads(path.read_text())
    entry = dict(content["detectors"]["cae"], confusion={"tp": 0, "fp": 1, "tn": 3, "fn": 0})
    content["detectors"] = {f"detector{number}": entry for number in range(7)}
    path.write_text(json.dumps(content))
    figure = draw(config, evaluated, "confusion")
    figure.draw_without_rendering()
    assert sum(axes.get_visible() for axes in figure.axes) == 7
    assert len(figure.axes) == 8


def test_pdf_text_is_compressed_but_whole(config: Config, evaluated: Path, tmp_path: Path) -> None:
    """Decompress every stream: a truncated file would not."""
    inputs = registry.inputs(config, "5", Layout(evaluated))
    registry.write(registry.settings(config, "5"), inputs, [tmp_path / "figure5.pdf"])
    data = (tmp_path / "figure5.pdf").read_bytes()
    streams = re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    assert len(streams) > 2
    assert all(zlib.decompressobj().decompress(stream) for stream in streams)


# --- all detectors ------------------------------------------------------------------


def test_figure_8_shows_what_the_paper_shows(config: Config) -> None:
    assert dependence.shown(config.detection) == ["cae", "one_start_fixed"]
    detectors = config.detection.detectors
    others = {name: d for name, d in detectors.items() if name not in dependence.LOOKS}
    without = config.detection.model_copy(update={"detectors": others})
    assert set(dependence.shown(without)) == set(others)


def test_figure_8_marks_the_cluster(config: Config, evaluated: Path) -> None:
    figure = draw(config, evaluated, "8")
    fixed = config.datasets["Coma"].parameters
    # Redshift, temperature, metallicity, norm; of two plasmas mean and sum.
    norm = fixed["apec.norm"] + fixed["apec_3.norm"]
    heat = sum(fixed[f"{name}.kT"] * fixed[f"{name}.norm"] for name in ("apec", "apec_3")) / norm
    wanted = [fixed["apec.Redshift"], heat, fixed["apec.Abundanc"], norm]
    for panel, value in zip(figure.axes[:4], wanted, strict=True):
        marks = [line.get_xdata() for line in panel.lines if line.get_label() == "Coma"]
        np.testing.assert_allclose(marks, [[value, value]])
    none = changed(config, {"figures": {"cluster": None}})
    axes = draw(none, evaluated, "8").axes[0]
    assert not [line for line in axes.lines if line.get_label() == "Coma"]


def test_figure_6_shows_the_published_methods(config: Config, evaluated: Path) -> None:
    figure = draw(config, evaluated, "6")
    titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert titles == [config.detection.detectors[name].title for name in PUBLISHED]


def test_figure_5_marks_the_chosen_thresholds(config: Config, evaluated: Path) -> None:
    (axes,) = draw(config, evaluated, "5").axes
    entries = json.loads((evaluated / "evaluate/metrics.json").read_text())["detectors"]
    marked = {
        line.get_label(): (line.get_xdata()[0], line.get_ydata()[0])
        for line in axes.lines
        if str(line.get_label()).endswith("threshold chosen")
    }
    for name in ("cae", "ae"):
        entry = entries[name]
        wanted = entry["recall"]["value"], entry["precision"]["value"]
        assert marked[f"{entry['title']}, threshold chosen"] == pytest.approx(wanted)


def test_forest_lists_every_detector_in_its_class(config: Config, evaluated: Path) -> None:
    metrics = json.loads((evaluated / "evaluate/metrics.json").read_text())
    lines = forest.rows(metrics)
    assert sum(line.entry is not None for line in lines) == len(config.detection.detectors)
    classes = [line.text for line in lines if line.entry is None]
    assert classes == [SEES[key].heading for key in judged.groups(config.detection)]
    # Best first within a class.
    values = [None if line.entry is None else line.entry["bacc"]["value"] for line in lines]
    for first, second in itertools.pairwise(values):
        assert None in (first, second) or first >= second
    (axes,) = draw(config, evaluated, "forest").axes
    published = [line for line in axes.lines if line.get_label() == "Published"]
    assert sorted(line.get_xdata()[0] for line in published) == sorted(
        entry.bacc for entry in PUBLISHED.values()
    )


def test_forest_shows_a_detector_without_a_number(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluate/metrics.json"
    content = json.loads(path.read_text())
    content["detectors"]["ae"]["bacc"] = {"value": None, "lo": None, "hi": None}
    content["ceiling"] = None
    path.write_text(json.dumps(content))
    (axes,) = draw(config, evaluated, "forest").axes
    assert "undefined" in [text.get_text() for text in axes.texts]


def test_every_detector_is_in_one_group(config: Config) -> None:
    groups = judged.groups(config.detection)
    assert sorted(name for names in groups.values() for name in names) == sorted(
        config.detection.detectors
    )
    assert groups["never"] == [
        "one_start_fixed",
        "one_start_free",
        "cstat_rule_fixed",
        "cstat_rule_free",
    ]
    assert "fit_classifier" in groups["training"]


def test_a_class_without_the_quantity_counts_in_every_bin() -> None:
    # Thermal spectra have no flux: the false-alarm rate is the same in all bins.
    values = np.array([1.5, 1.5, 2.5, np.nan, np.nan, np.nan, np.nan])
    is_ic = np.array([True, True, True, False, False, False, False])
    decision = np.array([True, False, True, True, False, False, False])
    binned = dependence.in_bins(values, np.array([1.0, 2.0, 3.0, 4.0]), decision, is_ic, "x")
    recall, false_alarm, accuracy = (
        [estimate.value for estimate in binned[name]] for name in ("recall", "false_alarm", "bacc")
    )
    np.testing.assert_array_equal(recall, [0.5, 1.0, np.nan])
    np.testing.assert_array_equal(false_alarm, [0.25, 0.25, 0.25])
    np.testing.assert_array_equal(accuracy, [0.625, 0.875, np.nan])


def test_physical_quantities_of_either_class() -> None:
    table = Table(
        {
            "truth.apec.kT": [2.0, 5.0, 3.0],
            "truth.apec_3.kT": [8.0, np.nan, 7.0],
            "truth.ic_flux": [0.0, 3e-12, 0.0],
            "truth.thermal_flux": [1e-11, 6e-12, 1e-12],
        }
    )
    is_ic = np.array([False, True, False])
    flux, ratio, difference = every_dependence.physics(table, is_ic, 2)
    np.testing.assert_allclose(flux.values, [np.nan, 3.0, np.nan])
    np.testing.assert_allclose(ratio.values, [np.nan, 0.5, np.nan])
    np.testing.assert_allclose(difference.values, [6.0, np.nan, 4.0])
    # One value for all: one bin around it.
    assert flux.edges[0] < 3.0 < flux.edges[-1]


def test_bins_of_equal_numbers() -> None:
    edges = every_dependence.equal_numbers(np.append(np.arange(60.0) ** 3, np.nan), 6)
    assert np.histogram(np.arange(60.0) ** 3, edges)[0].tolist() == [10] * 6
    # Half of the values are one: it has an edge, not a bin without width.
    edges = every_dependence.equal_numbers(np.array([0.0] * 10 + [1.0, 2.0]), 4)
    assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("name", ["8", "dependence", "physics", "efficiency"])
def test_figures_of_tiny_samples_have_empty_bins(
    config: Config, evaluated: Path, name: str
) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    size = len(table) // 2
    write_table(path, table[[0, 1, size, size + 1]])
    tree = config.model_dump(mode="json", exclude_none=True)
    detectors = tree["detection"]["detectors"]
    tree["detection"]["detectors"] = {name: detectors[name] for name in ("cae", "bayes_factor")}
    few = configuration.validate(tree, "test")
    draw(few, evaluated, name).draw_without_rendering()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("8", r"scores\.ecsv: has no true temperature"),
        ("dependence", "no true quantities to bin by; take the figure dependence out"),
        ("physics", "no true quantities to bin by; take the figure physics out"),
        ("efficiency", "no true norms of plasma and IC to bin by"),
    ],
)
def test_figures_without_their_quantities_are_told(
    config: Config, evaluated: Path, name: str, message: str
) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table.remove_columns([column for column in table.colnames if column.startswith("truth.")])
    write_table(path, table)
    with pytest.raises(IcflowError, match=message):
        draw(config, evaluated, name)


def test_efficiency_needs_both_classes(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    write_table(path, table[np.asarray(table["is_ic"])])
    with pytest.raises(IcflowError, match="efficiency needs test spectra of both classes"):
        draw(config, evaluated, "efficiency")


@pytest.mark.parametrize("digits", [0, 3])
def test_efficiency_averages_to_the_recall_at_its_false_alarm_rate(digits: int) -> None:
    random = np.random.default_rng(0)
    is_ic = np.arange(500) < 200
    score = np.round(random.normal(size=500) + is_ic, digits)
    curve = Curve.of(score, is_ic, np.ones((1, 500)))
    found = efficiency.called(score, is_ic, 0.05)
    assert found[is_ic].mean() == pytest.approx(curve.recall_at(0.05)[0], abs=0.005)
    assert found[~is_ic].mean() == pytest.approx(0.05)


def test_efficiency_is_that_of_the_spectra_in_a_bin() -> None:
    plane = efficiency.Plane(
        x=np.array([0.1, 0.2, 0.9, 1.0]),
        y=np.array([0.1, 0.1, 0.1, 1.0]),
        called=np.array([1.0, 0.0, 1.0, 1.0]),
    )
    found, number = plane.binned(2)
    np.testing.assert_array_equal(found, [[0.5, 1.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(number, [[2, 1], [0, 1]])
    # Four spectra are too few for a contour anywhere.
    assert np.isnan(plane.smoothed()[1]).all()


def test_contours_follow_a_known_efficiency() -> None:
    random = np.random.default_rng(0)
    x, y = random.random((2, 20000))
    plane = efficiency.Plane(x, y, (random.random(20000) < y).astype(float))
    points, smooth = plane.smoothed()
    middle = np.abs(points - 0.5) < 0.25
    np.testing.assert_allclose(
        smooth[middle][:, middle], np.repeat(points[middle][:, None], middle.sum(), 1), atol=0.05
    )


def test_reliability_of_stated_probabilities() -> None:
    random = np.random.default_rng(0)
    probability = random.random(40000)
    is_ic = random.random(40000) < probability
    mean, fraction, low, high, share = reliability.reliability(probability, is_ic)
    np.testing.assert_allclose(fraction, mean, atol=0.02)
    assert ((low < fraction) & (fraction < high)).all()
    np.testing.assert_allclose(share, 0.1, atol=0.01)
    # A bin in which all are of one class, and bins without spectra.
    mean, fraction, low, high, _ = reliability.reliability(
        np.array([0.05, 0.05, 0.95]), np.array([False, False, True])
    )
    assert (fraction[0], fraction[9]) == (0.0, 1.0)
    assert high[0] > 0.3
    assert low[9] < 0.7
    assert np.isnan(fraction[1:9]).all()
    assert np.isnan(low[1:9]).all()


def test_no_words_lie_on_the_points_of_the_reliability(drawn: Drawing) -> None:
    for axes in drawn("reliability").figure.axes:
        assert not axes.texts
        assert not axes.get_visible() or "Brier 0." in axes.get_title()


def test_curves_of_one_class_are_drawn_empty(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluate/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    write_table(path, table[np.asarray(table["is_ic"])])
    for name in ("roc", "precision_recall"):
        draw(config, evaluated, name).draw_without_rendering()  # type: ignore[attr-defined]


def test_differences_that_chance_can_make_are_grey(config: Config, evaluated: Path) -> None:
    content = json.loads((evaluated / "evaluate/metrics.json").read_text())
    names = list(content["detectors"])
    for first, others in content["differences"].items():
        for other in others:
            same = {names.index(first) // 2, names.index(other) // 2} == {0}
            low = -0.01 if same else 0.01
            found = {"value": 0.02, "lo": low, "hi": 0.03}
            content["differences"][first][other] = {"bacc": found, "auc": found}
    (evaluated / "evaluate/metrics.json").write_text(json.dumps(content))
    axes = draw(config, evaluated, "differences").axes[0]  # type: ignore[attr-defined]
    size = len(names)
    assert len(axes.texts) == size * (size - 1)
    assert sum(text.get_color() == style.GREY for text in axes.texts) == 2
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert (shown[1, 0], shown[0, 1]) == ("+2.0", "−2.0")


def test_the_figure_of_the_docs_is_drawn(
    config: Config, evaluated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = blocks("A figure")[0]
    check_style(code, "src/icflow/publish/figures/probabilities.py")
    names: dict[str, Any] = {}
    exec(code, names)
    monkeypatch.setitem(registry.FIGURES, "probabilities", names["FIGURE"])
    figure = draw(config, evaluated, "probabilities")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == len(config.detection.detectors)
    for axes in panels:
        # Lines tell the classes apart without colours, too.
        assert len({patch.get_linestyle() for patch in axes.patches}) == len(axes.patches) == 2
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    assert "dashed" in registry.caption(config, "probabilities")
