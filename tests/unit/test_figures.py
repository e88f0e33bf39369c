"""Figures of a made-up run: drawn, deterministic, with units, and robust."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from astropy.table import Table

from icflow import config as configuration
from icflow.config import Config
from icflow.detection import metrics
from icflow.errors import IcflowError
from icflow.figures import (
    architecture,
    dependence,
    example_spectra,
    latents,
    reconstruction_errors,
    registry,
    style,
)
from icflow.figures.base import FigureSettings
from icflow.stages import figures

ROOT = Path(__file__).parents[2]


def draw(config: Config, results: Path, number: int) -> object:
    with style.context():
        # Settings as the workflow hands them over.
        text = registry.settings(config, number).json_text()
        return registry.kind(number).draw(
            configuration.from_json(FigureSettings, text),
            [results / path for path in registry.inputs(config, number)],
        )


def changed(config: Config, above: dict) -> Config:
    tree = config.model_dump(mode="json", exclude_none=True)
    return configuration.validate(configuration.overlay(tree, above), "test")


@pytest.mark.parametrize("number", list(registry.FIGURES))
def test_figures_are_drawn_at_journal_width(
    config: Config, evaluated: Path, number: int, tmp_path: Path
) -> None:
    inputs = [evaluated / path for path in registry.inputs(config, number)]
    outputs = [tmp_path / Path(path).name for path in registry.outputs(config, number)]
    settings = registry.settings(config, number)
    figures.run(settings, inputs, outputs)
    assert [path.name for path in outputs] == [f"figure{number}.pdf", f"figure{number}.png"]
    pixels = matplotlib.image.imread(outputs[1])
    assert pixels.shape[1] in (
        round(style.SINGLE_COLUMN * config.figures.dpi),
        round(style.DOUBLE_COLUMN * config.figures.dpi),
    )
    # Something is drawn, and the margins are white.
    assert (pixels[..., :3].min(axis=-1) < 0.5).mean() > 0.005
    pdf = outputs[0].read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"/CreationDate" not in pdf


@pytest.mark.parametrize("number", list(registry.FIGURES))
def test_axes_have_labels_and_legible_text(config: Config, evaluated: Path, number: int) -> None:
    figure = draw(config, evaluated, number)
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_visible()]
    assert min(t.get_fontsize() for t in texts if t.get_text().strip()) >= 7
    if number == 2:  # a drawing, not a plot
        return
    shared = [axes for axes in figure.axes if axes.get_visible()]
    assert any(axes.get_xlabel() for axes in shared)
    assert any(axes.get_ylabel() for axes in shared)


def test_units_are_on_the_axes(config: Config, evaluated: Path) -> None:
    labels = {
        number: {
            text
            for axes in draw(config, evaluated, number).axes
            for text in (axes.get_xlabel(), axes.get_ylabel())
            if text
        }
        for number in (1, 3, 5, 7, 8)
    }
    assert labels[1] == {style.ENERGY, style.RATE}
    assert style.ENERGY in labels[3]
    assert all("keV" in text for text in labels[3])
    assert any("counts s" in text for text in labels[5])
    for number in (7, 8):
        assert any("keV" in text for text in labels[number])
        assert any("solar" in text for text in labels[number])
        assert any("cm" in text for text in labels[number])


def test_bytes_are_the_same_in_another_process(
    config: Config, evaluated: Path, tmp_path: Path
) -> None:
    numbers = (1, 7)  # many lines, and an image within vector graphics
    script = (
        "import sys; from pathlib import Path; from icflow.config import from_json\n"
        "from icflow.figures.base import FigureSettings; from icflow.stages import figures\n"
        "text, inputs, outputs = sys.argv[1:]\n"
        "figures.run(from_json(FigureSettings, text), [Path(p) for p in inputs.split('|')],"
        " [Path(p) for p in outputs.split('|')])"
    )
    for number in numbers:
        settings = registry.settings(config, number)
        inputs = [evaluated / path for path in registry.inputs(config, number)]
        here = [tmp_path / f"here{number}.{suffix}" for suffix in ("pdf", "png", "svg")]
        there = [tmp_path / f"there{number}.{suffix}" for suffix in ("pdf", "png", "svg")]
        figures.run(settings, inputs, here)
        subprocess.run(
            [
                sys.executable,
                "-c",
                script,
                settings.json_text(),
                "|".join(map(str, inputs)),
                "|".join(map(str, there)),
            ],
            check=True,
        )
        for first, second in zip(here, there, strict=True):
            assert first.read_bytes() == second.read_bytes()


def test_a_users_matplotlibrc_changes_nothing(
    config: Config, evaluated: Path, tmp_path: Path
) -> None:
    import matplotlib

    settings = registry.settings(config, 6)
    inputs = [evaluated / path for path in registry.inputs(config, 6)]
    figures.run(settings, inputs, [tmp_path / "plain.png"])
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red", "lines.linewidth": 9}):
        figures.run(settings, inputs, [tmp_path / "odd.png"])
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "odd.png").read_bytes()


def test_unknown_figures_and_formats_are_refused(config: Config, tmp_path: Path) -> None:
    with pytest.raises(IcflowError, match="no figure 99; choose one of 1, 2"):
        registry.settings(config, 99)
    with pytest.raises(IcflowError, match=r"figure1\.gif: figures are written as \.pdf"):
        figures.run(registry.settings(config, 1), [], [tmp_path / "figure1.gif"])


def test_settings_hold_only_what_a_figure_depends_on(config: Config) -> None:
    longer = changed(config, {"autoencoder": {"training": {"epochs": 77}}})
    faster = changed(config, {"detection": {"bootstrap": 333}})
    same = [
        n for n in registry.FIGURES if registry.settings(config, n) == registry.settings(longer, n)
    ]
    assert set(same) == {1, 3, 5, 6, 8}
    same = [
        n for n in registry.FIGURES if registry.settings(config, n) == registry.settings(faster, n)
    ]
    assert set(same) == {1, 2, 4, 6, 7}


def test_every_figure_says_what_it_shows(config: Config) -> None:
    for number, kind in registry.FIGURES.items():
        assert len(kind.alt) > 40
        caption = kind.caption(config)
        assert caption.endswith(".")
        assert "  " not in caption
        text = (ROOT / f"workflow/report/figure{number}.rst").read_text()
        assert len(text) > 40


def test_captions_follow_the_settings(config: Config) -> None:
    longer = changed(config, {"autoencoder": {"training": {"epochs": 77}}})
    assert "77 epochs" in registry.kind(7).caption(longer)
    assert "77 epochs" not in registry.kind(7).caption(config)


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
        name: Table.read(results / f"figures/data/components-{name}.ecsv", format="ascii.ecsv")
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
    assert kinds["test_2T"][hot] == "Plasma"
    assert kinds["test_2T"][cool] == "Cooler plasma"
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
    path = results / "figures/data/components-test_2T.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    del table.meta["exposure"]
    table.write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(IcflowError, match=r"components-test_2T\.ecsv: needs .* exposure"):
        draw(config, results, 1)


# --- figure 2 -----------------------------------------------------------------------


@pytest.mark.parametrize("length", [2960, 300])
def test_blocks_are_those_of_the_network(config: Config, length: int) -> None:
    import torch

    from icflow.autoencoder import network

    shape = config.autoencoder.architecture
    model = network.SpectrumAutoencoder(shape, length).eval()
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


# --- figures 3, 7 -------------------------------------------------------------------


def test_example_that_was_not_scored_is_named(config: Config, results: Path) -> None:
    other = changed(config, {"figures": {"example": 3}})
    with pytest.raises(IcflowError, match="no reconstruction of spectrum 3 of the dataset test_2T"):
        draw(other, results, 3)


def test_bias_and_scatter_of_a_gaussian_with_outliers() -> None:
    random = np.random.default_rng(0)
    truth = random.uniform(0, 1, 20000)
    latent = truth + 0.1 + 0.2 * random.normal(size=truth.size)
    latent[:200] = 1e3
    bias, scatter = latents.bias_and_scatter(truth, latent)
    assert bias == pytest.approx(0.1, abs=0.01)
    assert scatter == pytest.approx(0.2, rel=0.03)


def test_latents_use_held_out_spectra_only(config: Config, results: Path) -> None:
    for fold in range(2):
        path = results / f"scores/cae/fold-{fold}.ecsv"
        table = Table.read(path, format="ascii.ecsv")
        table = table[np.asarray(table["part"]) != "holdout"]
        table.write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(IcflowError, match=r"fold-0\.ecsv: has no held-out spectra"):
        draw(config, results, 7)


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


def test_dependence_of_tiny_samples_is_drawn(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluation/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    size = len(table) // 2
    table[[0, 1, size, size + 1]].write(path, format="ascii.ecsv", overwrite=True)
    figure = draw(config, evaluated, 8)
    figure.draw_without_rendering()


def test_scenarios_without_plasma_are_told(config: Config, evaluated: Path) -> None:
    path = evaluated / "evaluation/scores.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table.remove_columns([name for name in table.colnames if name.startswith("truth.apec")])
    table.write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(IcflowError, match=r"scores\.ecsv: has no true temperature"):
        draw(config, evaluated, 8)


def test_confusion_matrices_of_more_detectors_fill_more_rows(
    config: Config, evaluated: Path
) -> None:
    import json

    path = evaluated / "evaluation/metrics.json"
    content = json.loads(path.read_text())
    entry = dict(content["detectors"]["cae"], confusion={"tp": 0, "fp": 1, "tn": 3, "fn": 0})
    content["detectors"] = {f"detector{number}": entry for number in range(7)}
    path.write_text(json.dumps(content))
    figure = draw(config, evaluated, 6)
    figure.draw_without_rendering()
    assert sum(axes.get_visible() for axes in figure.axes) == 7
    assert len(figure.axes) == 8


def test_pdf_text_is_compressed_but_whole(config: Config, evaluated: Path, tmp_path: Path) -> None:
    """Decompress every stream: a truncated file would not."""
    inputs = [evaluated / path for path in registry.inputs(config, 5)]
    figures.run(registry.settings(config, 5), inputs, [tmp_path / "figure5.pdf"])
    data = (tmp_path / "figure5.pdf").read_bytes()
    streams = re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL)
    assert len(streams) > 2
    assert all(zlib.decompressobj().decompress(stream) for stream in streams)
