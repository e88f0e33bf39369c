"""Scans: what is refused, what is measured at a point, and the table and figure of it."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from scanning import DATASETS, FIRST, PAIR, SECOND, scan_of

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.detection import scan, scan_tables
from icflow.detection.base import with_ic
from icflow.detection.scan import Point, ScoredSpectra, Weights
from icflow.errors import IcflowError
from icflow.publish import scan_page
from icflow.publish.figures import scans, style
from icflow.settings import ScanSettings
from icflow.stages import scan as stage
from icflow.typing import Floats

ROOT = Path(__file__).parents[3]
PUBLISHED = ("seen", "background", "prior", "exposure")
OVERLAYS = sorted(path.stem for path in (ROOT / "config/scans").glob("*.yaml"))
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def with_scan(scan: dict[str, Any], **detection: Any) -> Config:
    base = configuration.load(ROOT / "config.yaml").model_dump(mode="json", exclude_none=True)
    above = {"datasets": DATASETS, "scans": {"mine": scan}, "detection": detection}
    return configuration.validate(configuration.overlay(base, above), "here")


# --- the configuration --------------------------------------------------------------------


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_scans_that_ship_with_the_project_are_valid(name: str) -> None:
    run = configuration.load(ROOT / "config.yaml", ROOT / f"config/scans/{name}.yaml")
    assert list(run.scans) == [name]
    default = configuration.load(ROOT / "config.yaml")
    for dataset in default.datasets:
        assert settings_of.simulate(run, dataset) == settings_of.simulate(default, dataset)


def test_the_ic_of_a_scan_is_multiplied_by_the_value_of_each_point() -> None:
    run = configuration.load(ROOT / "config.yaml", ROOT / "config/scans/seen.yaml")
    low, high = bounds(run.scenarios["1T+IC"].parameters["powerlaw.norm"])
    for point in run.scans["seen"].points:
        (dataset,) = set(point.test) - {"test_2T"}
        assert point.value is not None and run.source(dataset) == "test_1T+IC"
        norm = run.simulated(dataset).parameters["powerlaw.norm"]
        assert bounds(norm) == pytest.approx((point.value * low, point.value * high))
        # Spectra of one plasma alone stay on the side of IC.
        classes = with_ic(run.datasets, run.detection.training)
        assert [classes[name] for name in ("test_2T", dataset)] == [False, True]


def bounds(setting: Any) -> tuple[float, float]:
    """Return the lowest and highest value that a parameter is drawn with."""
    return (setting, setting) if isinstance(setting, float) else setting.bounds


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (
            scan_of(FIRST, SECOND | {"test": ["test_2T", "nothing"]}),
            "scans.mine.points.second.test.1 is 'nothing', allowed: 3T, Coma, faint",
        ),
        (scan_of(FIRST), "scans.mine.points: is"),
        (scan_of(FIRST, FIRST), "scans.mine.points has two points 'first'; rename one"),
        (
            scan_of(FIRST, SECOND | {"name": "a/b"}),
            "scans.mine.points has the name 'a/b'; names may hold letters",
        ),
        (
            scan_of(FIRST, SECOND, detectors=["vae"]),
            "scans.mine.detectors.0 is 'vae', allowed: ae, ",
        ),
        (
            scan_of(FIRST, SECOND | {"validation": ["test_2T", "validation_1T+IC"]}),
            "scans.mine.points.second.test names 'test_2T', which scans.mine.points.second.",
        ),
        (
            # Other spectra, but of the same sources.
            scan_of(FIRST, SECOND | {"validation": ["validation_2T", "test_1T+IC"]}),
            "scans.mine.points.second.test names 'faint', which",
        ),
        (
            scan_of(FIRST, SECOND | {"reads": {"bayes_factor": PAIR}}, detectors=["cae"]),
            "scans.mine.points.second.reads is 'bayes_factor', allowed: cae",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_scans_are_refused(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(IcflowError) as caught:
        with_scan(bad)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_point_changes_what_it_says_and_nothing_else() -> None:
    run = with_scan(
        scan_of(FIRST, SECOND | {"training": "train_2T"}, detectors=["fit_density", "cae"])
    )
    detection = run.at_point("mine", "second")
    assert detection.test == ["test_2T", "faint"]
    assert detection.validation == run.detection.validation
    assert set(detection.detectors) == {"fit_density", "cae"}
    settings = settings_of.evaluate(run, detection)
    assert settings.held_out
    assert "test_1T+IC" not in settings.datasets and "faint" in settings.datasets
    assert run.scanned("mine", "test") == ["faint"]
    scores = settings_of.scan_score(run, "mine", "cae", 0)
    assert (scores.training, scores.validation, scores.test) == (None, [], ["faint"])
    for given in (scores, settings, settings_of.scan(run, "mine")):
        assert configuration.from_json(type(given), given.json_text()) == given
    assert settings_of.scan(run, "mine").sources["faint"] == "test_1T+IC"


def test_a_detector_may_read_others_at_a_point() -> None:
    reads = {"delta_cstat_fixed": {"thermal": "2T_free", "alternative": "1T+IC_free"}}
    run = with_scan(scan_of(FIRST, SECOND | {"reads": reads}))
    own, there = run.detection.detectors, run.at_point("mine", "second").detectors
    changed = {name for name in own if there[name] != own[name]}
    assert changed == {"delta_cstat_fixed"}
    detector = there["delta_cstat_fixed"]
    assert (detector.thermal, detector.alternative) == ("2T_free", "1T+IC_free")
    assert run.at_point("mine", "first").detectors == own


def test_the_ceiling_knows_of_a_scatter_where_thresholds_do() -> None:
    run = configuration.load(ROOT / "config.yaml", ROOT / "config/scans/background.yaml")
    scatters = {}
    for point in run.scans["background"].points:
        detector = run.at_point("background", point.name).detectors["bayes_factor"]
        pair = (str(detector.thermal), str(detector.alternative))
        integrals = [settings_of.integrate(run, name) for name in pair]
        (scatters[point.name],) = {one.modules[0].systematics.background for one in integrals}
        assert [one.scenario for one in integrals] == [
            run.scenarios[name] for name in ("2T", "1T+IC")
        ]
    assert scatters == {"none": 0, "b05": 0.05, "b10": 0.1, "b05_unaware": 0, "b10_unaware": 0}


# --- what is measured ---------------------------------------------------------------------


def spectra(name: str, score: Floats, flux: Floats | None = None) -> ScoredSpectra:
    sources = np.array([f"{name}/{i}" for i in range(score.size)])
    return ScoredSpectra(
        sources, {"d": score}, np.full(score.size, math.nan) if flux is None else flux
    )


def test_thresholds_keep_false_alarms_at_or_below_the_rate() -> None:
    score = np.array([1.0, 5.0, 3.0, math.nan, 4.0, 2.0, 0.0, 6.0, 7.0, 8.0])
    once = np.ones((1, 10))
    assert scan.thresholds(score, 0.3, once).tolist() == [5.0]
    assert scan.thresholds(score, 0.05, once).tolist() == [8.0]
    assert scan.thresholds(score, 0.95, once).tolist() == [-math.inf]
    # Equal scores stay together, on the side of no alarm.
    assert scan.thresholds(np.array([1.0, 2.0, 2.0, 2.0]), 0.5, np.ones((1, 4))).tolist() == [2.0]
    # The highest one drawn three times, the next not at all.
    weights = once.copy()
    weights[0, 9], weights[0, 8], weights[0, 7] = 3, 0, 0
    assert scan.thresholds(score, 0.3, weights).tolist() == [5.0]
    for rate in (0.01, 0.05, 0.29):
        many = np.random.default_rng(1).normal(size=100)
        (threshold,) = scan.thresholds(many, rate, np.ones((1, 100)))
        assert np.mean(many > threshold) == pytest.approx(rate)


def test_the_same_sources_are_drawn_alike_and_others_are_not() -> None:
    weights = Weights(seed=1, repeats=50)
    one, same, other = (
        weights.of(spectra(name, np.zeros(30))) for name in ("test", "test", "else")
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one[1:], other[1:])
    assert (one[0] == 1).all() and (one.sum(axis=1) == 30).all()
    assert not np.array_equal(one[1:], Weights(2, 50).of(spectra("test", np.zeros(30)))[1:])


def point(thermal: ScoredSpectra, ic: ScoredSpectra, threshold: float = 0.0) -> Point:
    calibration = spectra("validation", np.linspace(-2, 2, 200))
    return Point(thermal, ic, calibration, {"d": threshold})


def test_rates_at_a_point_and_how_they_change() -> None:
    random = np.random.default_rng(3)
    thermal, ic = random.normal(-1, 1, 400), random.normal(1, 1, 400)
    weights = Weights(seed=1, repeats=400)
    first = scan.measure(point(spectra("t", thermal), spectra("i", ic)), "d", None, weights)
    assert first.draws["false_alarm"][0] == np.mean(thermal > 0)
    assert first.draws["recall"][0] == np.mean(ic > 0)
    assert first.draws["false_alarm"][1:].std() == pytest.approx(
        np.sqrt(np.mean(thermal > 0) * np.mean(thermal <= 0) / 400), rel=0.15
    )
    same = scan.measure(point(spectra("t", thermal + 0.1), spectra("i", ic)), "d", None, weights)
    independent = scan.measure(
        point(spectra("other", thermal + 0.1), spectra("i", ic)), "d", None, weights
    )
    paired, unpaired = (scan.changes(here, first) for here in (same, independent))
    assert paired["recall"] == unpaired["recall"]
    assert (paired["recall"].lo, paired["recall"].hi) == (0, 0)
    change = paired["false_alarm"].value
    assert change == unpaired["false_alarm"].value > 0
    widths = [c["false_alarm"].hi - c["false_alarm"].lo for c in (paired, unpaired)]
    assert widths[0] < 0.7 * widths[1], "sharing the sources makes a change surer"
    assert paired["bacc"].value == pytest.approx(-change / 2)


def test_without_ic_there_is_no_recall() -> None:
    weights = Weights(seed=1, repeats=20)
    found = scan.measure(
        point(spectra("t", np.arange(9.0)), spectra("i", np.empty(0))), "d", 0.05, weights
    )
    assert np.isnan(found.draws["recall"]).all()
    assert np.isnan(found.draws["bacc"]).all()
    assert not np.isnan(found.draws["false_alarm"]).any()
    assert len(set(found.thresholds.tolist())) > 1, "the threshold is chosen in every resampling"


def test_the_flux_that_is_needed_is_found_again() -> None:
    random = np.random.default_rng(5)
    flux = 10 ** random.uniform(-14, -11, 4000)
    score = np.log10(flux) + 0.3 * random.normal(size=flux.size)
    found = spectra("i", score, flux)
    weights = Weights(seed=1, repeats=200).of(found)
    threshold = np.full(201, -12.5)
    grid, efficiency = scan.efficiency(found, "d", threshold, weights)
    for level, expected in ((0.5, -12.5), (0.9, -12.5 + 1.2816 * 0.3)):
        estimate = scan.flux_estimate(scan.needed(grid, efficiency, level))
        assert np.log10(estimate.value) == pytest.approx(expected, abs=0.05)
        assert estimate.lo < estimate.value < estimate.hi
        assert np.log10(estimate.hi / estimate.lo) < 0.1
    never = scan.efficiency(found, "d", np.full(201, 0.0), weights)
    assert scan.flux_estimate(scan.needed(*never, 0.5)).value == math.inf
    always = scan.efficiency(found, "d", np.full(201, -99.0), weights)
    assert scan.needed(*always, 0.5)[0] == pytest.approx(flux.min())


# --- table and figure ---------------------------------------------------------------------


def scan_settings(figure: str, detectors: list[str]) -> ScanSettings:
    third = {**SECOND, "name": "none", "label": "none", "test": ["3T"], "value": 2.0}
    run = with_scan(
        scan_of(FIRST | {"value": 0.5}, SECOND, third, figure=figure, detectors=detectors),
        bootstrap=100,
    )
    return configuration.from_json(ScanSettings, settings_of.scan(run, "mine").json_text())


def write_points(folder: Path, settings: ScanSettings, size: int = 300) -> dict[str, Path]:
    """Write evaluations in which IC of the second point scores lower."""
    random = np.random.default_rng(0)
    found = {}
    for one in settings.scan.points:
        place = found[one.name] = folder / one.name
        place.mkdir()
        for name, datasets in (
            ("scores", one.test),
            ("validation", ["validation_2T", "validation_1T+IC"]),
        ):
            table = Table(
                {
                    "dataset": np.repeat(datasets, size),
                    "index": np.tile(np.arange(size), len(datasets)),
                }
            )
            is_ic = np.array([("IC" in d) or d == "faint" for d in table["dataset"]])
            table["is_ic"] = is_ic
            flux = np.where(is_ic, 10 ** random.uniform(-13, -11, len(table)), 0.0)
            table["truth.ic_flux"] = flux
            signal = np.where(is_ic, np.log10(np.where(is_ic, flux, 1.0)) + 13, 0.0)
            signal -= 0.4 * (table["dataset"] == "faint")
            for detector in settings.detectors:
                table[detector] = signal + 0.3 * random.normal(size=len(table))
            table.meta["thresholds"] = dict.fromkeys(settings.detectors, 0.5)
            table.write(place / f"{name}.ecsv", format="ascii.ecsv")
    return found


@pytest.mark.parametrize("figure", ["rates", "accuracy", "changes", "fluxes", "matrix"])
def test_the_table_and_the_figure_of_a_scan(figure: str, tmp_path: Path) -> None:
    settings = scan_settings(figure, ["cae", "fit_density"])
    points = write_points(tmp_path, settings)
    output = tmp_path / "scan"
    stage.compare(settings, points, output)
    with (output / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 3
    best = {
        (row["point"], row["detector"]): row
        for row in rows
        if row["threshold_for"] == scan_tables.BEST
    }
    first, second, none = (best[name, "cae"] for name in ("first", "second", "none"))
    assert float(first["change_recall"]) == 0
    assert float(second["change_recall_hi"]) < 0
    assert float(second["change_recall"]) == pytest.approx(
        float(second["recall"]) - float(first["recall"]), abs=1e-5
    )
    assert none["recall"] == "nan" and 0 <= float(none["false_alarm"]) < 0.2
    at_5 = next(row for row in rows if row["threshold_for"] == "false alarms 0.05")
    assert float(at_5["false_alarm"]) == pytest.approx(0.05, abs=0.04)
    assert float(at_5["flux_0.5_lo"]) <= float(at_5["flux_0.5"]) < float(at_5["flux_0.9"])
    text = (output / "table.md").read_text()
    assert r"IC \| faint" in text
    assert ("Flux found in 90 %" in text) == (figure == "fluxes")
    again = tmp_path / "again"
    stage.compare(settings, dict(reversed(points.items())), again)
    for name in ("table.csv", "table.md", "curves.ecsv"):
        assert (again / name).read_bytes() == (output / name).read_bytes()
    images = [tmp_path / f"figure.{suffix}" for suffix in ("png", "pdf")]
    style.write(lambda: scans.draw(settings, output), 80, images)
    assert images[0].read_bytes().startswith(b"\x89PNG")
    assert images[1].read_bytes().startswith(b"%PDF-")


def test_a_detector_that_finds_nothing_at_any_flux_is_named_so(tmp_path: Path) -> None:
    settings = scan_settings("fluxes", ["cae", "fit_density"])
    output = tmp_path / "scan"
    stage.compare(settings, write_points(tmp_path, settings), output)
    table = pd.read_csv(output / "table.csv")
    fluxes = [name for name in table if name.startswith("flux_")]
    table.loc[table["detector"] == "fit_density", fluxes] = np.inf
    table.to_csv(output / "table.csv", index=False)
    figure = scans.draw(settings, output)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name.endswith(" (beyond all tried)") for name in names] == [False, True]
    notes = {text.get_text() for axes in figure.axes for text in axes.texts}
    assert "50 % found, false alarms 5 %" in notes


def test_a_missing_point_or_detector_is_named(tmp_path: Path) -> None:
    settings = scan_settings("rates", ["cae"])
    points = write_points(tmp_path, settings)
    with pytest.raises(IcflowError, match="no evaluation of the point second was given"):
        stage.compare(settings, {"first": points["first"]}, tmp_path / "out")
    more = scan_settings("rates", ["cae", "ae"])
    with pytest.raises(IcflowError, match=r"scores.ecsv: lacks the column ae"):
        stage.compare(more, points, tmp_path / "out")
    stage.compare(settings, points, tmp_path / "out")
    with pytest.raises(IcflowError, match=r"table\.csv: has no rows of ae; make the table again"):
        scans.draw(more, tmp_path / "out")
    with pytest.raises(IcflowError, match=r"table\.csv: cannot be read"):
        scans.draw(settings, tmp_path / "nowhere")


def test_the_page_of_a_scan_shows_its_table_and_says_how_it_was_made(tmp_path: Path) -> None:
    run = with_scan(scan_of(FIRST, SECOND, figure="changes", detectors=["cae"]), bootstrap=100)
    settings, made = settings_of.scan(run, "mine"), tmp_path / "results/scan/mine"
    stage.compare(settings, write_points(tmp_path, settings, size=50), made)
    files = ["config.yaml", "config/my scan.yaml"]
    output = tmp_path / "page"
    written = scan_page.run(run, "mine", files, tmp_path / "results", output)
    assert [path.name for path in written] == ["mine_scan.md", "mine_scan.csv", "mine_scan.png"]
    page, table, image = written
    assert (made / "table.md").read_text() in page.read_text()
    assert "\nsnakemake scan --cores 2 --configfile config.yaml 'config/my scan.yaml'\n" in (
        page.read_text()
    )
    assert table.read_bytes() == (made / "table.csv").read_bytes()
    assert image.read_bytes().startswith(b"\x89PNG")
    (made / "table.md").unlink()
    with pytest.raises(IcflowError, match=r"table.md: cannot be read"):
        scan_page.run(run, "mine", files, tmp_path / "results", output)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_pages_of_scans_are_those_of_the_project(name: str) -> None:
    """Every detector at every point is there, and the table of the page is that of the CSV file."""
    folder = ROOT / "docs/results"
    page = (folder / f"{name}_scan.md").read_text()
    (command,) = re.findall(rf"^icflow scan-page {name} --config (.+)$", page, re.MULTILINE)
    loaded = configuration.load(*(ROOT / file for file in command.split()))
    settings = settings_of.scan(loaded, name)
    with (folder / f"{name}_scan.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["point"], row["detector"]) for row in rows} == {
        (one.name, detector) for one in settings.scan.points for detector in settings.detectors
    }
    texts = {"point", "label", "series", "detector", "title", "threshold_for"}
    numbers = [{k: v if k in texts else float(v) for k, v in row.items()} for row in rows]
    lines = scan_tables.markdown(pd.DataFrame(numbers), settings).splitlines()
    start = page.splitlines().index(lines[0])
    for line, shown in zip(lines, page.splitlines()[start:], strict=False):
        # The CSV file has six digits, so a half may be rounded to either side.
        assert NUMBER.sub("#", shown) == NUMBER.sub("#", line)
        found, wanted = (np.array(NUMBER.findall(text), float) for text in (shown, line))
        assert found == pytest.approx(wanted, abs=0.00101)
