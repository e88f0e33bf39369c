"""The benchmarks run, every row of them, on few spectra."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table
from matplotlib.figure import Figure

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import AtomicData, Instrument, Systematics
from icflow.engines.embedded.engine import EmbeddedEngine
from icflow.engines.embedded.population import Population, bins_of
from icflow.models.priors import Uniform
from icflow.networks.data import LabelScale
from icflow.networks.network import create
from icflow.networks.weights import Description, save_weights
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra

ROWS = {
    "fit_2T_fixed", "fit_1T+IC_fixed", "fit_2T_free", "fit_1T+IC_free",
    "cstat_above_xspec", "cstat_above_truth", "expected_counts", "integrals",
    "simulation", "systematics", "labels", "baseline", "memory", "linearity", "coverage",
    "coverage_box", "coverage_free", "coverage_hessian", "coverage_marginal", "minimum_fixed",
    "minimum_free",
    "minimum_default_limits",
}  # fmt: skip


# What needs a run with trained networks, and what others import.
OF_RESULTS = {"ablation.py", "ceiling.py", "ratio.py", "recipes.py"}
PARTS = {
    "__main__.py", "likelihoods.py", "rows.py",
    "peer_job.py", "peer_elisa.py", "peer_jaxspec.py", "peer_sherpa.py",
}  # fmt: skip


@pytest.fixture(autouse=True)
def prepared() -> Iterator[None]:
    """Benchmarks choose threads and algorithms, and other tests their own."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    yield
    torch.set_num_threads(before[0])
    torch.set_deterministic_debug_mode(before[1])


def test_one_command_runs_all_that_need_no_networks(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scripts = {path.name for path in (root / "benchmarks").glob("*.py")} - OF_RESULTS - PARTS
    ran: dict[str, list[str]] = {}

    def run(words: list[str], check: bool) -> SimpleNamespace:
        ran[Path(words[1]).name] = words[2:]
        return SimpleNamespace(returncode=int(Path(words[1]).name == "starts.py"))

    one = module(root, "__main__.py")
    monkeypatch.setattr(one.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    # One that fails does not keep the others from running.
    with pytest.raises(SystemExit, match=r"failed: starts\.py"):
        one.main()
    # Whoever asks for a few minutes is not given other programs.
    assert set(ran) == scripts - {"peers.py"}
    for script, words in ran.items():
        text = (root / "benchmarks" / script).read_text()
        assert all(f'"{word}"' in text for word in words if word.startswith("--"))
        assert text.endswith('if __name__ == "__main__":\n    main()\n')
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--full"])
    with pytest.raises(SystemExit):
        one.main()
    assert set(ran) == scripts
    assert not any(ran.values())
    assert "All benchmarks:" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_every_row_is_measured_and_kept(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    output = tmp_path / "benchmarks.json"
    # What earlier runs have measured stays.
    output.write_text('{"other": {"value": 1.0}}')
    command = [sys.executable, root / "benchmarks/engine.py", "--output", output]
    done = subprocess.run(
        [*command, "--scale", "0.0001", "--cores", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())
    assert set(rows) == {"other", *ROWS}
    for name in ROWS:
        assert {"value", "unit", "target", "reached", "machine", "scale"} <= set(rows[name])
        timed = (
            rows[name]["unit"].split()[0] in ("calls", "s", "CPU", "MiB,") and name != "systematics"
        )
        assert bool(rows[name]["limit"]) == timed
        assert isinstance(rows[name]["reached"], bool)
        assert name in done.stdout
    # What two spectra are enough to tell.
    assert rows["cstat_above_xspec"]["reached"]
    assert rows["cstat_above_truth"]["reached"]
    assert rows["memory"]["reached"]
    assert rows["expected_counts"]["value"] < 1e-4


def test_parts_of_a_row_are_measured_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row of hours goes on where it was interrupted, with the same code alone."""
    monkeypatch.syspath_prepend(root / "benchmarks")
    engine = importlib.import_module("engine")
    output, ran = tmp_path / "benchmarks.json", []

    def bench() -> Any:
        made = engine.Bench(None, 1, tmp_path, output, 1.0, 1000)
        made.run = lambda task, each: [task(*one) for one in each]
        return made

    def double(value: int) -> int:
        ran.append(value)
        return 2 * value

    assert bench().kept("one", double, [(1,), (2,)]) == [2, 4]
    assert bench().kept("one", double, [(1,), (2,)]) == [2, 4]
    assert bench().kept("two", double, [(3,)]) == [6]
    assert ran == [1, 2, 3]
    parts = output.with_suffix(".parts.json")
    parts.write_text(parts.read_text().replace(json.loads(parts.read_text())["code"], "other"))
    assert bench().kept("two", double, [(3,)]) == [6]
    assert ran == [1, 2, 3, 3]
    bench().forget()
    assert not parts.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_starts_are_measured(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    output = tmp_path / "benchmarks.json"
    names = ("help", "job", "private_memory")
    asked = [word for name in names for word in ("--row", name)]
    said = run(root, "starts.py", *asked, "--runs", "1", "--output", output)
    rows = json.loads(output.read_text())
    assert set(rows) == set(names)
    assert all(name in said for name in names)
    assert 0 < rows["help"]["value"] < rows["job"]["value"]
    assert "numba" in rows["job"]["limit"]
    assert rows["private_memory"]["reached"]


def test_the_time_of_a_fit_is_told_part_by_part(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path
) -> None:
    said = run(root, "parts.py", "--fit", "1T+IC_free", "--spectra", "1")
    lines = {line[:32].strip(): line[32:].split() for line in said.splitlines()[2:]}
    times = {part: (float(n), float(ms)) for part, (n, _, ms) in lines.items()}
    assert times["a fit"][0] == times["lattice, 10 redshifts"][0] == 1.0
    assert times["survey, 1000000 hops at most"][0] == 1.0
    # Parts do not overlap.
    assert times["a fit"][1] > sum(ms for part, (_, ms) in times.items() if part != "a fit") > 0


def test_searches_that_are_cut_short_are_compared(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path
) -> None:
    command = [sys.executable, root / "benchmarks/shortcuts.py", "--spectra", "2", "--cores", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    above = {
        " ".join(row[:-5]): [float(cell) for cell in row[-2:]]
        for row in rows
        if row[-5:-4] == ["2T_free"]
    }
    assert len(above) == 4
    assert all(0 <= median <= most for median, most in above.values())
    # Whoever looks at no step at all ends high above those who do.
    assert above["as always"][1] < 0.01 < 0.1 < above["smooth alone"][0]
    (always,) = [row for row in rows if row[:2] == ["as", "always"] and len(row) == 4]
    assert 0.5 <= float(always[2]) <= float(always[3]) <= 1.0


def test_a_limit_is_the_longer_of_arithmetic_and_traffic(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = module(root, "limits.py")
    monkeypatch.setattr(limits, "multiply_adds_per_second", lambda: 1e9)
    monkeypatch.setattr(limits, "read_per_second", lambda mebibytes: 1e10 / mebibytes)
    # A MiB, and 64 times as much, at the rate of 32.
    assert limits.Work(2e6, 2.0**20).seconds() == pytest.approx(2e-3)
    assert limits.Work(2e6, 2.0**26).seconds() == pytest.approx(2.0**26 * 32 / 1e10)
    said = limits.Work(2e6, 1e6).limit(4.0, number=1000)
    assert said == "2,000 ms for 1,000 times 2 million multiply-adds and 1 MB, 2 × less"


# Another program that fits as well as icflow, being it, and says all it expects 1 % too high.
TOY_PEER = """
import icflow
import numpy as np
from peer_job import FREE, answer, apec

def prepare(job, path, truth):
    x = icflow.read_spectrum(path, energies=[3, 13.5], rmf=job["rmf"], arf=job["arf"])
    names = ["apec.kT", "apec.Abundanc", "apec.norm", "apec_2.kT", "apec_2.norm"]
    limits = {name: job["limits"][own] for name, own in zip(names, FREE)}
    known = {f"{term}.Redshift": job["redshift"] for term in ("apec", "apec_2")}
    link = {"apec_2.Abundanc": "apec.Abundanc"}
    model = icflow.Model("apec+apec", limits | known | link)

    def fit():
        found = model.fit(x).values
        return {own: found[name] for name, own in zip(names, FREE)}

    # The yardstick of all peers is XSPEC's own function.
    assert apec(np.array([5.0, 6.0, 7.0]), 3.0, 0.3, 0.05).min() > 0
    return 1.01 * model.likelihood(x).counts([truth[name] for name in FREE]), fit

answer(prepare)
"""


def test_other_programs_fit_the_same_spectra(
    root: Path,
    rmf_path: Path,
    arf_path: Path,
    atomdb: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root / "benchmarks")
    peers = module(root, "peers.py")
    task = peers.Task(1, tmp_path)
    peer, output = tmp_path / "toy.py", tmp_path / "benchmarks.json"
    peer.write_text(TOY_PEER)
    paths = f"{root / 'src'}:{root / 'benchmarks'}"
    answers = task.asked_of(peer, sys.executable, paths)
    assert len(answers[0]["counts"]) == 262
    assert task.difference(answers) == pytest.approx(0.01, rel=1e-6)
    assert task.above(answers)[0] == pytest.approx(0.0, abs=1e-3)
    monkeypatch.setattr(peers, "PEERS", {"toy": ("toy==1", 0.02), "wrong": ("wrong==1", 0.005)})
    peers.report("toy", task, task.seconds(starts=1), answers, output)
    row = json.loads(output.read_text())["peer_toy"]
    assert row["value"] > 0
    assert "counts differ by 1.0e-02" in row["note"]
    # However fast it is.
    with pytest.raises(peers.Failed, match=r"differ by 1\.0e-02, more than 0\.005"):
        peers.report("wrong", task, 1e-9, answers, output)
    assert set(json.loads(output.read_text())) == {"peer_toy"}
    peer.write_text("raise ValueError('no such model')")
    with pytest.raises(peers.Failed, match=r"toy\.py: (?s:.)*no such model"):
        task.asked_of(peer, sys.executable, paths)


def test_a_program_that_cannot_be_installed_has_no_row(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    peers, asked = module(root, "peers.py"), []

    def run(words: list[str], **_: Any) -> SimpleNamespace:
        asked.append(words)
        return SimpleNamespace(returncode=len(asked) == 1, stderr="no bison")

    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setattr(peers.subprocess, "run", run)
    monkeypatch.setattr(peers.venv, "create", lambda folder, **_: Path(folder).mkdir(exist_ok=True))
    with pytest.raises(peers.Failed, match="cannot be installed here: no bison"):
        peers.python_with("sherpa")
    # Once it can be it is, and again where another version is wanted.
    python = peers.python_with("sherpa")
    assert python == peers.python_with("sherpa") == str(tmp_path / "sherpa/bin/python")
    assert len(asked) == 2
    assert "sherpa==4.18.0" in asked[1]
    monkeypatch.setitem(peers.PEERS, "sherpa", ("sherpa==5", 1e-5))
    peers.python_with("sherpa")
    assert "sherpa==5" in asked[2]


def test_evidences_are_compared_with_plain_importance_sampling(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, tmp_path: Path
) -> None:
    output = tmp_path / "evidence.json"
    said = run(root, "evidence.py", "--output", output, "--spectra", "1", "--steps", "1000")
    content = json.loads(output.read_text())
    assert len(content["rows"]) == 4
    for row in content["rows"]:
        assert row["effective"] >= 300
        assert row["in_all_effective"] >= 1000
        off = abs(row["in_all"] - row["sampled"])
        assert off < 4 * (row["in_all_error"] ** 2 + row["error"] ** 2) ** 0.5
    assert content["summary"]["spectra"] == 2
    assert "balanced accuracy, laplace" in said


def test_strategies_end_where_they_are_said_to(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path
) -> None:
    said = run(root, "strategies.py", "--spectra", "1", "--fits", "label")
    rows = [line.split(" | ") for line in said.splitlines()[2:]]
    above = {row[1]: float(row[5]) for row in rows}
    evaluations = {row[1]: int(row[6].strip(" |")) for row in rows}
    assert list(above) == ["plain", "thorough", "seeded"]
    assert above["plain"] > 1, "a false convergence"
    assert above["thorough"] < 1
    assert abs(above["seeded"]) < 0.01
    assert evaluations["seeded"] < 0.5 * evaluations["plain"]


def test_ranks_tell_odds_that_are_no_frequencies(root: Path) -> None:
    benchmark = module(root, "ratio.py")

    def population(tilt: float) -> SimpleNamespace:
        def draw(number: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            bright = 100 * 10 ** random.random(number)
            shift = random.normal(tilt, 1.0, number)
            return np.stack([bright, shift], axis=1), np.empty((number, 0))

        return SimpleNamespace(
            draw=draw, priors={0: Uniform(uniform=[1.0, 10.0])}, exact={}, wrong=2,
            model=SimpleNamespace(position={"apec.kT": 0}),
        )  # fmt: skip

    def inputs(counts: np.ndarray, known: np.ndarray) -> SimpleNamespace:
        place = (np.argsort(np.argsort(counts[:, 1])) + 0.5) / len(counts)
        # The temperature, and two deviates of an instrument.
        fitted = [place, np.full(len(place), 0.5), np.full(len(place), np.nan)]
        return SimpleNamespace(fits=np.stack(fitted * 3, axis=1), shift=counts[:, 1])

    hypotheses = SimpleNamespace(
        populations=[population(-1.0), population(1.0)], inputs=inputs,
        settings=SimpleNamespace(modules=[SimpleNamespace(exposure=10.0)]),
    )  # fmt: skip
    found = {}
    for factor in (2.0, 6.0):
        network = SimpleNamespace(log_odds=lambda given, f=factor: f * given.shift)
        fresh, groups = benchmark.calibration(network, hypotheses, np.random.default_rng(1))
        assert {group["of"] for group in groups} == {"rate (1/s)", "kT of 1T+IC (keV)"}
        hot = [group["from"] for group in groups if group["of"].startswith("kT")]
        assert len(hot) == 3
        np.testing.assert_allclose(hot, [1.0, 10 ** (1 / 3), 10 ** (2 / 3)])
        found[factor] = fresh, min(group["ks_probability"] for group in groups)
    right, wrong = found[2.0], found[6.0]
    assert right[0]["calibration_error"] < 0.01 < 0.03 < wrong[0]["calibration_error"]
    assert right[0]["ranks_ks_probability"] > 0.01 > 1e-6 > wrong[0]["ranks_ks_probability"]
    assert right[1] > 1e-3 > 1e-6 > wrong[1]


SYSTEMATICS = {
    "background": {"continuum": 0.03, "lines": 0.03, "aperture": 0.08, "focused": 0.3},
    "area": [[3.0, 0.02], [10.0, 0.02], [40.0, 0.02], [60.0, 0.06], [79.0, 0.1]],
    "gain": {"offset": 60.0},
}


def test_exact_odds_know_what_is_wrong(
    root: Path, rmf_path: Path, arf_path: Path, atomdb: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(root / "benchmarks")
    ceiling, likelihoods = module(root, "ceiling.py"), importlib.import_module("likelihoods")
    instrument = Instrument(
        rmf=str(rmf_path), arf=str(arf_path), exposure=1e6,
        background=str(root / "resources/background/nustar_fpma.yaml"),
        systematics=Systematics.model_validate(SYSTEMATICS),
    )  # fmt: skip
    engine = EmbeddedEngine([instrument], AtomicData(folder=str(atomdb)))
    scenarios = configuration.load(root / "config.yaml").scenarios
    known, log = ["apec.Redshift"], {}
    source = scenarios["1T+IC"]
    counts, truth = engine.fake(source.expression, source.parameters, 1, "set", range(1))
    for name in ("2T", "1T+IC"):
        population = Population(engine, scenarios[name], (3.0, 80.0), known)
        own = ceiling.Class(population)
        starts, _ = bins_of(population.selection)
        inside = np.add.reduceat(counts[0][population.selection.channels], starts)
        redshift = float(truth["apec.Redshift"][0])
        found = own.evidence(inside, redshift, np.random.default_rng(1))
        assert found.effective > 30
        log[name] = found.log
    # The last is that of the spectrum: what is expected of it is what was drawn from.
    optics, rest, theta = own.records.seen(redshift)
    for name, position in population.model.position.items():
        theta[position] = truth[name][0] if name in truth else theta[position]
    seen = likelihoods.Seen(
        optics, rest, own.records.area, own.records.tilt, own.sampled, own.bounded, own.scattered,
        own.spreads, own.records.gain,
    )  # fmt: skip
    logs = [np.log(truth[f"{n}"][0]) for n in engine.scatters if n in truth]
    order = [list(engine.scatters).index(population.model.names[p]) for p in own.scattered]
    backgrounds = [logs[i] / s + s / 2 for i, s in zip(order, own.spreads, strict=True)]
    gain = truth["gain.offset"][0] / 0.06
    area = [
        truth[f"area.{energy:g}"][0] / scatter for energy, scatter in instrument.systematics.area
    ]
    x = np.concatenate([theta[own.bounded], 1 + np.array([*backgrounds, gain, *area])])
    model, rows = np.empty(len(starts)), np.empty((len(own.sampled) + len(x), len(starts)))
    likelihoods.fill(seen, theta, x, model, rows)
    (simulator,) = engine._simulators(source.expression, source.parameters)
    values = {name: float(column[0]) for name, column in truth.items()}
    true = simulator.observed(values)[population.selection.channels]
    true = np.add.reduceat(true, starts)
    assert np.sum((model - true) ** 2 / true) < 0.3
    # And so are the derivatives.
    for place in range(len(x)):
        step = np.zeros(len(x))
        step[place] = 1e-4 * max(abs(x[place]), 1e-3)
        ends = np.empty((2, len(starts)))
        for end, sign in zip(ends, (1, -1), strict=True):
            likelihoods.fill(seen, theta, x + sign * step, end, rows.copy())
        slope = (ends[0] - ends[1]) / (2 * step[place])
        assert rows[len(own.sampled) + place] == pytest.approx(slope, rel=2e-3, abs=1e-3)
    assert log["1T+IC"] - log["2T"] > -3


# --- the autoencoders -----------------------------------------------------------------

CHANNELS, INPUTS = 4096, 2960


def run(root: Path, script: str, *arguments: str | Path, **changes: Any) -> str:
    """Run a benchmark in this process, where the responses are; return what it prints.

    `changes` holds constants of it.
    """
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        # What scripts set when they are loaded.
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TQDM_DISABLE"):
            patch.setenv(name, "1")
        patch.chdir(root)
        patch.syspath_prepend(root / "benchmarks")
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        loaded = module(root, script)
        for name, value in changes.items():
            patch.setattr(loaded, name, value)
        loaded.main()
    return said.getvalue()


def module(root: Path, script: str) -> ModuleType:
    """Load a benchmark without running it."""
    name = f"benchmark_{Path(script).stem}"
    spec = importlib.util.spec_from_file_location(name, root / "benchmarks" / script)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def write_shard(folder: Path, dataset: str, size: int) -> dict[str, np.ndarray]:
    """Write spectra of a falling shape; return their parameters."""
    random = np.random.default_rng(size)
    truth = {
        "apec.kT": random.uniform(1, 10, size),
        "apec.Abundanc": random.uniform(0.1, 1, size),
        "apec.Redshift": random.uniform(0.01, 0.1, size),
        "apec.norm": random.uniform(0.01, 1, size),
    }
    energy = 1.6 + 0.04 * (np.arange(CHANNELS) + 0.5)
    expected = 1e4 * truth["apec.norm"][:, None] * np.exp(-energy / truth["apec.kT"][:, None])
    path = folder / f"simulate/{dataset}/shard-0000.pha"
    path.parent.mkdir(parents=True)
    write_spectra(
        path,
        SpectrumSet(
            counts=random.poisson(expected + 1).astype(np.int32),
            index=np.arange(size),
            truth=truth,
            modules=(Recorded(np.arange(CHANNELS), 1e6),),
            dataset=dataset,
            scenario="2T",
        ),
    )
    return truth


def write_labels(folder: Path, truth: dict[str, np.ndarray]) -> None:
    """Write fits that find the truth."""
    names = ("apec.kT", "apec.norm")
    index = np.arange(truth["apec.kT"].size)
    fits = Table({"index": index, "converged": index >= 0} | {n: truth[n] for n in names})
    fits["at_bound"], fits["status"] = "", "ok"
    path = folder / "label/train_2T/shard-0000.ecsv"
    path.parent.mkdir(parents=True)
    fits.write(path)


def test_recipes_are_compared_by_when_the_published_one_gets_there(
    root: Path, tmp_path: Path
) -> None:
    losses = {("fast", 2): (0.5, 0.2), ("fast", 1): (0.09,), ("paper", 5): (0.9, 0.1, 0.3)}
    folders = []
    for number, ((recipe, epochs), values) in enumerate(losses.items()):
        training = {"recipe": recipe, "epochs": epochs, "spectra": 1250, "folds": 10}
        folders.append(tmp_path / f"fold-{number}")
        folders[-1].mkdir()
        Table(
            {
                "epoch": np.arange(len(values)),
                "selection_loss": values,
                "selection_misfit": np.array(values) / 10,
            },
            meta={"training": training},
        ).write(folders[-1] / "history.ecsv")
    _, _, two, one, paper = run(
        root, "recipes.py", "--curves", *folders, "--output", tmp_path
    ).splitlines()
    assert two == "| fast, 2 epochs of 1,000 | 0.2 | 0.02 | after 2 epochs |"
    assert one == "| fast, 1 epochs of 1,000 | 0.09 | 0.009 | never |"
    assert paper == "| paper, 3 of 5 epochs of 1,000 | 0.1 | 0.01 | after 2 epochs |"
    assert (tmp_path / "recipes.png").stat().st_size > 10_000


def test_curves_of_recipes_mark_the_epoch_that_is_kept(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = module(root, "recipes.py")
    figures: list[Figure] = []
    monkeypatch.setattr(recipes.style, "save", lambda figure, *_: figures.append(figure))
    training = {"recipe": "paper", "epochs": 300, "spectra": 10_000, "folds": 10}
    columns = {"epoch": [0, 1, 2], "selection_loss": [0.9, 0.1, 0.3]}
    columns["selection_misfit"] = [0.3, 0.2, 0.1]
    recipes.draw([Table(columns, meta={"training": training})], tmp_path / "recipes.png")
    for panel, height in zip(figures[0].axes, (0.1, 0.2), strict=True):
        curve, dot = panel.lines
        assert curve.get_label() == "paper, 3 of 300 epochs of 8,000"
        assert dot.get_xydata().tolist() == [[2, height]]


def test_parts_of_the_network_are_left_out(root: Path, rmf_path: Path, tmp_path: Path) -> None:
    write_labels(tmp_path, write_shard(tmp_path, "train_2T", 60))
    parts = [
        f"{part}_{scenario}" for part in ("validation", "test") for scenario in ("2T", "1T+IC")
    ]
    for dataset in parts:
        write_shard(tmp_path, dataset, 40)
    small = tmp_path / "small.yaml"
    small.write_text(
        "datasets: {train_2T: {size: 60}, "
        + ", ".join(f"{dataset}: {{size: 40}}" for dataset in parts)
        + "}\nautoencoder: {training: {spectra: 60, folds: 3, folds_trained: 2, epochs: 1, "
        "batch: 10}}\n"
    )
    command = ["--results", tmp_path, "--parts", "--config", small, "--without", "latents", "skips"]
    command += ["--output-weights", "zero"]
    names, _, row = (
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in run(root, "recipes.py", *command).splitlines()
    )
    cells = dict(zip(names, row, strict=True))
    assert cells["without"] == "latents, skips"
    assert cells["output weights"] == "zero"
    assert 0 <= int(cells["dead latents"]) <= 4
    assert re.fullmatch(r"\d+ \(\d+%\)", cells["dead channels"])
    for name in ("recall", "balanced accuracy", "area under ROC"):
        assert 0 <= float(cells[name]) <= 1
    for name in ("median R_a, 2T", "threshold", "CPU s per epoch and 1,000 spectra"):
        assert float(cells[name]) > 0


def test_parts_are_what_their_names_say(root: Path) -> None:
    recipes = module(root, "recipes.py")
    settings = settings_of.train(configuration.load(root / "config.yaml"), "cae", 0)
    for name, gone in {"latents": [], "skips": [".skip."], "again": [".again."]}.items():
        network = create(settings, 64)
        keys = [key for key in network.state_dict() if key.startswith("up.")]
        recipes.PARTS[name](network)
        left = [key for key in keys if not any(part in key for part in gone)]
        assert [key for key in network.state_dict() if key.startswith("up.")] == left
        assert (len(left) < len(keys)) == (name != "latents")
        with torch.no_grad():
            network.dense[4].bias.fill_(-50.0)
            latents = network.eval().encode(torch.rand(3, 64))
        assert bool((latents < -20).all()) == (name == "latents")
        # Latents that are the same for all spectra are dead.
        dead = 0 if name == "latents" else 4
        examples = recipes.Examples(np.random.default_rng(1).random((5, 64), np.float32), None)
        with torch.no_grad():
            network.dense[4].weight.mul_(100)
        assert recipes.dead_latents(network, examples) == dead


def test_output_weights_are_what_their_names_say(root: Path) -> None:
    recipes = module(root, "recipes.py")
    settings = settings_of.train(configuration.load(root / "config.yaml"), "cae", 0)
    torch.manual_seed(1)
    low, high = {}, {}
    for name in recipes.OUTPUTS:
        networks = [create(settings, 64) for _ in range(50)]
        for network in networks:
            recipes.begin_with(name, network)
        weights = torch.cat([network.output.weight.detach().flatten() for network in networks])
        low[name], high[name] = round(float(weights.min()), 1), round(float(weights.max()), 1)
    assert low == {"default": -0.5, "published": -1, "positive": 0, "zero": 0}
    assert high == {"default": 0.5, "published": 1, "positive": 1, "zero": 0}


def write_networks(root: Path, folder: Path, size: int) -> None:
    """Write scores of three folds, each of which takes other spectra for what they are not."""
    config = configuration.load(root / "config.yaml")
    settings = settings_of.train(config, "cae", 0)
    names = list(settings.labels)
    scale = LabelScale(tuple(names), (0.0,) * len(names), (1.0,) * len(names))
    state = create(settings, INPUTS).state_dict()
    path = folder / "train/cae/fold-0/weights.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(path, state, Description(settings, scale, INPUTS, "", 0, 1.0))
    parts = [("train_2T", "holdout", False)]
    parts += [(f"{part}_2T", part, False) for part in ("validation", "test")]
    parts += [(f"{part}_1T+IC", part, True) for part in ("validation", "test")]
    index = np.arange(size)
    # By fold: what is left over when the index of a mistaken spectrum is divided by five.
    for fold, mistaken in enumerate([[0], [1], [2, 3]]):
        taken = np.concatenate([is_ic ^ np.isin(index % 5, mistaken) for _, _, is_ic in parts])
        columns = {
            "dataset": np.repeat([dataset for dataset, _, _ in parts], size),
            "index": np.tile(index, len(parts)),
            "part": np.repeat([part for _, part, _ in parts], size),
        }
        for network in config.autoencoder.networks:
            random = np.random.default_rng(fold)
            own = {f"latent_{label}": random.normal(size=taken.size) - 9 * taken
                   for label in settings_of.train(config, network, fold).labels}  # fmt: skip
            own |= {name.replace("latent", "label"): own[name] for name in list(own)}
            scores = dict.fromkeys(("R_a", "deviance"), 1.0 + taken)
            path = folder / f"score/{network}/fold-{fold}.ecsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            Table(columns | own | scores).write(path)


def test_ablation_shows_what_all_folds_together_do(
    root: Path, rmf_path: Path, tmp_path: Path
) -> None:
    for part in ("validation", "test"):
        for scenario in ("2T", "1T+IC"):
            write_shard(tmp_path, f"{part}_{scenario}", 40)
    write_networks(root, tmp_path, 40)
    command = ["--results", tmp_path, "--output", tmp_path]
    lines = run(root, "ablation.py", *command, RESAMPLINGS=50).splitlines()
    rows = dict(line.strip("| ").split(" | ", 1) for line in lines if line.startswith("|"))
    assert rows["R_a of the CAE (published)"].startswith("0.800 (")
    for name in ("cae", "cae_deviance"):
        assert rows[f"`{name}`, fold 0 alone"].startswith("0.800 (")
        # No two folds make the same mistake, so the median makes none.
        assert rows[f"`{name}`, median over 3 folds"] == "1.000 (1.000–1.000) | 1.000 (1.000–1.000)"
    assert "`latent_density`, median over 3 folds" in rows
    # 0.8, 0.8 and 0.6.
    assert any("cae 0.733 ± 0.115 (3 folds), cae_deviance 0.733" in line for line in lines)
    assert (tmp_path / "sensitivity.png").stat().st_size > 10_000


def test_steps_are_timed_both_ways(root: Path) -> None:
    lines = run(root, "training.py", "--batch", "8", "--steps", "1").splitlines()
    plain, ours = (float(line.split()[1]) for line in lines[1:3])
    assert [line.split()[0] for line in lines[1:4]] == ["straightforward", "icflow", "ratio"]
    assert float(lines[3].split()[1]) == pytest.approx(plain / ours, rel=0.02)
    assert re.fullmatch(r"limit: 0\.\d+ CPU s per step for [1-9]\d* billion operations", lines[-1])
    # Operations go by the spectra.
    training = module(root, "training.py")
    assert training.limit(4)[1] == pytest.approx(2 * training.limit(2)[1], rel=0.05)


def test_training_is_timed_on_a_gpu_that_is_there(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = module(root, "training.py")
    asked = []

    def timed(seconds: float):  # type: ignore[no-untyped-def]
        def time(device: str, steps: int, args: object) -> tuple[float, float]:
            asked.append((device, steps))
            return (seconds, seconds) if device == "cpu" else (seconds / 10, seconds / 20)

        return time

    monkeypatch.setattr(training, "time_plain", timed(0.8))
    monkeypatch.setattr(training, "time_ours", timed(0.4))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(sys, "argv", ["training.py"])
    training.main()
    # Fifty-three batches of 150 are the paper's epoch of 8,000 spectra.
    assert asked == [("cpu", 5), ("cuda", 53)] * 2
    lines = capsys.readouterr().out.splitlines()
    assert lines[6].startswith("cuda: Some GPU, torch")
    assert lines[9].split() == ["ratio", "2.00", "2.00"]
    # 53 × 0.04 and 53 × 0.02 s, and 3,000 times that in hours.
    assert lines[10].split()[1:6] == ["2.12", "CPU", "s", "1.06", "s"]
    assert lines[11].split()[1:6] == ["1.77", "CPU", "h", "0.88", "h"]


# --- the workflow ---------------------------------------------------------------------


def test_sleeping_jobs_show_how_busy_cores_are(root: Path, rmf_path: Path, atomdb: Path) -> None:
    few = ["--dag", "200", "--cores", "8", "--faster", "1000", "--targets"]
    shard = "results/baseline/test_2T/2T_fixed/shard-0000.ecsv"
    said = run(root, "schedule.py", *few, shard)
    assert re.search(r"200 test spectra: \d+ jobs, dry run [\d.]+ CPU s", said)
    assert re.search(r"[\d.]+% of 8 cores busy until the last job began", said)
    assert "2 jobs, one of which was killed: 0 others were made twice" in said
