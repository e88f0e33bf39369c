"""Training and scoring on small files: what they write, and bad input."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from astropy.table import Table
from small_networks import laid

from icflow.errors import IcflowError
from icflow.networks import fold, scores, training, weights
from icflow.networks.data import split
from icflow.ogip.spectra import Recorded, SpectrumSet, write_spectra
from icflow.settings import ScoreSettings
from icflow.tables import write_table

N_TRAIN, N_OTHER, CHANNELS = 60, 12, 4096
# Channels 35 to 134, centres 3.02 to 6.98 keV; scored: 60 to 109, 4.02 to 5.98 keV.
INPUT, SCORED = slice(35, 135), slice(60, 110)


def make_settings(rmf: Path, **changes: Any) -> ScoreSettings:
    tree: dict[str, Any] = {
        "seed": 3,
        "responses": [str(rmf)],
        "energies": [3.0, 7.0],
        "labels": {"kT": "fit:apec.kT", "z": "truth:apec.Redshift"},
        "architecture": {
            "widths": [4, 8],
            "dense": [12],
            "latents": 3,
            "kernel": 3,
        },
        "training": {
            "recipe": "fast",
            "spectra": 50,
            "folds": 5,
            "folds_trained": 1,
            "epochs": 6,
            "batch": 10,
            "learning_rate": 0.01,
            "patience": 1,
            "device": "cpu",
        },
        "network": "cae",
        "constraint": 0.1,
        "fold": 1,
    }
    whole = {
        "train": laid(tree, changes),
        "score_energies": [4.0, 6.0],
        "training": "train_2T",
        "validation": ["val_IC"],
        "test": ["test_2T", "test_IC"],
        "example": 2,
    }
    return ScoreSettings.model_validate(whole)


def write_dataset(folder: Path, name: str, size: int, shard: int) -> list[Path]:
    """Write spectra of a falling shape; return the files."""
    random = np.random.default_rng(size)
    kT, z = random.uniform(1, 10, size), random.uniform(0.01, 0.1, size)
    energy = 1.6 + 0.04 * (np.arange(CHANNELS) + 0.5)
    expected = 4e4 * kT[:, None] * np.exp(-energy / (1 + 40 * z[:, None]))
    counts = random.poisson(expected).astype(np.int32)
    paths = []
    for first in range(0, size, shard):
        index = np.arange(first, min(first + shard, size))
        spectra = SpectrumSet(
            counts=counts[index],
            index=index,
            truth={"apec.kT": kT[index], "apec.Redshift": z[index]},
            modules=(Recorded(np.arange(CHANNELS), 1e6),),
            dataset=name,
            scenario="2T",
        )
        path = folder / f"{name}-{first:03d}.pha"
        write_spectra(path, spectra)
        paths.append(path)
        fit = Table({"index": index, "apec.kT": kT[index] + 0.01, "converged": index >= 0})
        fit["at_bound"], fit["status"] = "", "ok"
        fit["apec.kT"].unit = "keV"
        fit.write(path.with_suffix(".ecsv"), format="ascii.ecsv", overwrite=True)
    return paths


@dataclass(frozen=True)
class Run:
    """A trained and scored network with the files that it came from."""

    settings: ScoreSettings
    spectra: dict[str, list[Path]]
    labels: list[Path]
    folder: Path

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    def score(self, settings: ScoreSettings, folder: Path, **spectra: list[Path]) -> Path:
        output = folder / "scores.ecsv"
        given = self.spectra | spectra
        scores.run(settings, self.weights, given, self.labels, output, folder / "examples.ecsv")
        return output


@pytest.fixture(scope="module")
def run(rmf_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("files")
    spectra = {"train_2T": write_dataset(folder, "train_2T", N_TRAIN, 20)}
    for name in ("val_IC", "test_2T", "test_IC"):
        spectra[name] = write_dataset(folder, name, N_OTHER, 8)
    labels = [path.with_suffix(".ecsv") for path in spectra["train_2T"]]
    made = Run(make_settings(rmf_path), spectra, labels, folder / "network")
    fold.run(made.settings.train, spectra["train_2T"], labels, made.folder)
    made.score(made.settings, made.folder)
    return made


def rates(files: Sequence[Path]) -> np.ndarray:
    from icflow.ogip.spectra import read_spectra

    counts = np.concatenate([read_spectra(path).counts for path in files])
    return counts[:, INPUT] / (1e6 * 0.04)


# --- train ------------------------------------------------------------------------


def test_training_leaves_weights_and_history(run: Run) -> None:
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"weights.safetensors", "history.ecsv", "scores.ecsv", "examples.ecsv"}
    history = Table.read(run.folder / "history.ecsv")
    assert history.colnames == [
        "epoch",
        "train_loss",
        "train_misfit",
        "train_constraint",
        "selection_loss",
        "selection_misfit",
        "selection_constraint",
        "learning_rate",
    ]
    assert list(history["epoch"]) == list(range(6))
    assert str(history["train_misfit"].unit) == "ct2 / (keV2 s2)"
    _, description = weights.load_weights(run.weights)
    assert description.best_epoch == history.meta["best_epoch"]
    assert description.best_epoch == int(np.argmin(history["selection_loss"]))
    assert description.channels == 100


def test_labels_are_scaled_by_the_spectra_that_train(run: Run) -> None:
    _, description = weights.load_weights(run.weights)
    tables = [Table.read(path) for path in run.labels]
    kT = np.concatenate([table["apec.kT"] for table in tables])[:50]
    part = split(50, 5, 1, seed=3).train
    assert description.scale.names == ("kT", "z")
    assert description.scale.low[0] == kT[part].min()
    assert description.scale.high[0] == kT[part].max()


def test_order_and_size_of_the_files_do_not_matter(run: Run, tmp_path: Path) -> None:
    spectra = write_dataset(tmp_path, "train_2T", N_TRAIN, 37)[::-1]
    labels = [path.with_suffix(".ecsv") for path in spectra][::-1]
    fold.run(run.settings.train, spectra, labels, tmp_path / "again")
    for name in ("weights.safetensors", "history.ecsv"):
        assert (tmp_path / "again" / name).read_bytes() == (run.folder / name).read_bytes()


# Trains, and kills itself in the fourth epoch without any chance to tidy up.
KILLED = """
import functools, os, signal, sys
from pathlib import Path
from icflow.networks import training
from icflow.config import from_json
from icflow.settings import TrainSettings
from icflow.networks import fold

def die(line):
    if line.startswith("epoch 4/"):
        os.kill(os.getpid(), signal.SIGKILL)

fold.say = die
training.train = functools.partial(training.train, interval=0.0)
half = len(sys.argv[3:]) // 2
files = [Path(name) for name in sys.argv[3:]]
fold.run(from_json(TrainSettings, sys.argv[1]), files[:half], files[half:], Path(sys.argv[2]))
"""


def test_killed_training_goes_on_to_the_same_bytes(
    run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings, spectra = run.settings.train, run.spectra["train_2T"]
    folder = tmp_path / "killed"
    files = [str(path) for path in (*spectra, *run.labels)]
    command = [sys.executable, "-c", KILLED, settings.json_text(), str(folder), *files]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in folder.iterdir()] == ["checkpoint.pt"]
    (folder / ".checkpoint-abcd.pt").write_bytes(b"half a checkpoint")
    capfd.readouterr()
    fold.run(settings, spectra, run.labels, folder)
    assert "training goes on after epoch 3" in capfd.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"weights.safetensors", "history.ecsv"}
    for name in ("weights.safetensors", "history.ecsv"):
        assert (folder / name).read_bytes() == (run.folder / name).read_bytes()


def test_latents_and_channels_that_died_are_named(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rate far too high, from the first step on."""
    known = Path(run.settings.train.responses[0])
    paper = {"training__recipe": "paper", "training__learning_rate": 1.0}
    for name, changes in (("fast", {}), ("paper", paper)):
        settings = make_settings(known, **changes).train
        fold.run(settings, run.spectra["train_2T"], run.labels, tmp_path / name)
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("epoch")]
    # Too short a training leaves channels alike as well.
    short, latents, channels = said
    assert re.fullmatch(
        "network cae, fold 1: latents that are the same for all spectra of the selection: "
        r"(kT|z|2)(, (z|2))*; lower autoencoder\.training\.learning_rate",
        latents,
    )
    for sentence in (short, channels):
        assert re.fullmatch(
            r"network cae, fold 1: \d+ channels are reconstructed alike for all spectra of the "
            r"selection and hold \d+% of the error, so R_a says how bright a spectrum is; more "
            r"autoencoder\.training\.epochs may help",
            sentence,
        )


def test_a_latent_is_dead_where_it_does_not_scatter() -> None:
    latents = torch.rand(20, 3)
    latents[:, 1] = 0.7
    assert fold.dead(latents) == [1]
    assert fold.dead(latents[:1]) == []


def test_a_channel_is_dead_where_its_reconstruction_does_not_follow_the_spectra() -> None:
    random = np.random.default_rng(1)
    brightness = random.uniform(0.5, 2.0, (300, 1))
    counts_per_rate = np.array([1e4, 1e4, 1e4, 1e4, 3.0], np.float32)
    expected = np.broadcast_to(brightness, (300, 5))
    rates = (random.poisson(expected * counts_per_rate) / counts_per_rate).astype(np.float32)
    made = (expected * [1.0, 0.6, 0.4, 0.0, 0.0]).astype(np.float32)
    # A channel that comes out too faint, but follows, is alive; in the last one noise is all.
    channels, share = fold.dead_channels(made, rates, counts_per_rate)
    assert channels.tolist() == [2, 3]
    errors = ((made - rates) ** 2).sum(axis=0)
    assert share == pytest.approx((errors[2] + errors[3]) / errors.sum())


def test_diverged_training_is_stated(run: Run, tmp_path: Path) -> None:
    trained = training.Trained(
        state={}, best_epoch=0, history=[training.Epoch(0, *[1.0] * 7)], diverged=1
    )
    assert fold.tabulate(trained, run.settings.train).meta["diverged"] == 1


# --- score ------------------------------------------------------------------------


def test_spectra_score_the_same_from_arrays_as_from_files(run: Run) -> None:
    from icflow.ogip.spectra import read_spectra

    scorer = scores.Scorer.load(run.settings, run.weights)
    read = scorer.read("test_IC", run.spectra["test_IC"])
    counts = np.concatenate([read_spectra(path).counts for path in run.spectra["test_IC"]])
    taken = scorer.take("test_IC", counts, 1e6)
    columns = ["index", "part", "R_a", "deviance"]
    (first, _), (second, _) = (scorer.score(inputs) for inputs in (read, taken))
    assert first[columns].as_array().tolist() == second[columns].as_array().tolist()


def test_every_spectrum_has_a_row(run: Run) -> None:
    table = Table.read(run.folder / "scores.ecsv")
    assert table.colnames == [
        "dataset",
        "index",
        "part",
        "R_a",
        "deviance",
        "latent_kT",
        "label_kT",
        "latent_z",
        "label_z",
        "latent_2",
    ]
    rows = {(str(row["dataset"]), str(row["part"])) for row in table}
    assert rows == {
        ("train_2T", "train"),
        ("train_2T", "selection"),
        ("train_2T", "holdout"),
        ("val_IC", "validation"),
        ("test_2T", "test"),
        ("test_IC", "test"),
    }
    assert len(table) == 50 + 3 * N_OTHER
    parts = split(50, 5, 1, seed=3).parts()
    for name, index in parts.items():
        np.testing.assert_array_equal(table["index"][table["part"] == name], index)
    assert str(table["latent_kT"].unit) == str(table["label_kT"].unit) == "keV"
    assert table.meta["training"]["epochs"] == 6


def test_scores_by_hand(run: Run) -> None:
    """R_a is the mean squared error over 4 to 6 keV; latents are in the units of the labels."""
    table = Table.read(run.folder / "scores.ecsv")
    state, description = weights.load_weights(run.weights)
    network = weights.build(run.weights, state, description)
    for name in ("train_2T", "test_IC"):
        spectra = rates(run.spectra[name])[: np.sum(table["dataset"] == name)]
        with torch.inference_mode():
            found, latents = network(torch.from_numpy(spectra.astype(np.float32)))
        inside = slice(SCORED.start - INPUT.start, SCORED.stop - INPUT.start)
        error = np.mean((spectra - found.numpy())[:, inside] ** 2, axis=1)
        rows = table[table["dataset"] == name]
        np.testing.assert_allclose(rows["R_a"], error, rtol=1e-3)
        counts, expected = (s[:, inside] * 4e4 for s in (spectra, found.numpy().astype(float)))
        expected = np.maximum(expected, 0.1)
        logs = np.log(np.where(counts > 0, counts, 1) / np.where(counts > 0, expected, 1))
        terms = expected - counts + counts * logs
        np.testing.assert_allclose(rows["deviance"], 2 * terms.mean(axis=1), rtol=1e-3)
        low, high = description.scale.low[0], description.scale.high[0]
        kT = low + latents[:, 0].numpy() * (high - low)
        np.testing.assert_allclose(rows["latent_kT"], kT, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(rows["latent_2"], latents[:, 2], rtol=1e-3, atol=1e-4)


def test_labels_where_there_are_any(run: Run) -> None:
    """Fits label the training spectra only, the truth labels all."""
    table = Table.read(run.folder / "scores.ecsv")
    is_training = table["dataset"] == "train_2T"
    np.testing.assert_array_equal(np.isfinite(table["label_kT"]), is_training)
    assert np.isfinite(table["label_z"]).all()
    fits = np.concatenate([Table.read(path)["apec.kT"] for path in run.labels])
    np.testing.assert_array_equal(table["label_kT"][is_training], fits[:50])


def test_examples(run: Run) -> None:
    table = Table.read(run.folder / "examples.ecsv")
    assert table.colnames == ["dataset", "index", "energy", "rate", "reconstruction"]
    assert list(dict.fromkeys(table["dataset"])) == ["test_2T", "test_IC"]
    assert set(table["index"]) == {2}
    one = table[table["dataset"] == "test_IC"]
    assert len(one) == 100
    np.testing.assert_allclose(one["energy"], 3.02 + 0.04 * np.arange(100), rtol=1e-6)
    np.testing.assert_allclose(one["rate"], rates(run.spectra["test_IC"])[2], rtol=1e-3)
    scores = Table.read(run.folder / "scores.ecsv")
    row = scores[(scores["dataset"] == "test_IC") & (scores["index"] == 2)]
    inside = (one["energy"] > 4) & (one["energy"] < 6)
    error = np.mean((one["rate"] - one["reconstruction"])[inside] ** 2)
    assert error == pytest.approx(row["R_a"][0], rel=1e-4)


def test_scoring_again_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    backwards = {name: paths[::-1] for name, paths in run.spectra.items()}
    run.score(run.settings, tmp_path, **backwards)
    for name in ("scores.ecsv", "examples.ecsv"):
        assert (tmp_path / name).read_bytes() == (run.folder / name).read_bytes()


# --- bad input --------------------------------------------------------------------


def test_other_spectra_are_scored_without_those_that_trained(run: Run, tmp_path: Path) -> None:
    settings = run.settings.model_copy(
        update={"training": None, "validation": [], "test": ["test_2T"]}
    )
    output = tmp_path / "scores.ecsv"
    scores.run(settings, run.weights, {"test_2T": run.spectra["test_2T"]}, [], output)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.ecsv"]
    alone, whole = (
        Table.read(p, format="ascii.ecsv") for p in (output, run.folder / "scores.ecsv")
    )
    whole = whole[whole["dataset"] == "test_2T"]
    assert set(alone["part"]) == {"test"}
    for name in ("index", "R_a", "latent_kT"):
        assert alone[name].tolist() == whole[name].tolist()


def test_weights_of_another_fold_are_refused(run: Run, tmp_path: Path) -> None:
    other = make_settings(Path(run.settings.train.responses[0]), fold=2)
    with pytest.raises(IcflowError, match="trained with fold 1, wanted is 2"):
        run.score(other, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_datasets_that_are_missing_or_confused(run: Run, tmp_path: Path) -> None:
    spectra = {name: paths for name, paths in run.spectra.items() if name != "test_IC"}
    with pytest.raises(IcflowError, match="no spectra of the dataset test_IC were given"):
        scores.run(run.settings, run.weights, spectra, run.labels, tmp_path / "s", tmp_path / "e")
    with pytest.raises(IcflowError, match="holds spectra of the dataset test_2T, given as val_IC"):
        run.score(run.settings, tmp_path, val_IC=run.spectra["test_2T"])
    mixed = [run.spectra["test_2T"][0], run.spectra["test_IC"][1]]
    with pytest.raises(
        IcflowError, match=r"of the dataset test_IC, the files before it .* test_2T"
    ):
        run.score(run.settings, tmp_path, test_2T=mixed)


def test_label_fits_of_another_dataset(run: Run, tmp_path: Path) -> None:
    table = Table.read(run.labels[0])
    table.meta["dataset"] = "test_2T"
    write_table(tmp_path / "other.ecsv", table)
    labels = [tmp_path / "other.ecsv", *run.labels[1:]]
    with pytest.raises(IcflowError, match=r"other\.ecsv: is of dataset test_2T, and was to be of"):
        fold.run(run.settings.train, run.spectra["train_2T"], labels, tmp_path)


def test_too_few_spectra(run: Run, tmp_path: Path) -> None:
    more = make_settings(Path(run.settings.train.responses[0]), training__spectra=61).train
    with pytest.raises(IcflowError, match="dataset train_2T: no row for spectrum 60"):
        fold.run(more, run.spectra["train_2T"], run.labels, tmp_path)
    with pytest.raises(IcflowError, match="label fits of train_2T: no row for spectrum 40"):
        fold.run(run.settings.train, run.spectra["train_2T"], run.labels[:2], tmp_path)


def test_a_spectrum_without_label_is_left_out_and_counted(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Table.read(run.labels[1])
    table["apec.kT"][3] = np.nan
    table["converged"][4:6] = False
    bad = tmp_path / "bad.ecsv"
    table.write(bad, format="ascii.ecsv")
    labels = [run.labels[0], bad, run.labels[2]]
    fold.run(run.settings.train, run.spectra["train_2T"], labels, tmp_path / "network")
    sentences = [
        "1 of 50 training spectra are left out: their label fits gave no number",
        "2 of 50 label fits that are used did not converge",
    ]
    said = capsys.readouterr().err
    assert all(sentence in said for sentence in sentences)
    # It trains as if the spectrum were not there, and is scored nevertheless.
    history = Table.read(tmp_path / "network" / "history.ecsv")
    assert np.isfinite(history["train_loss"]).all()
    assert np.isfinite(history["selection_loss"]).all()
    again = Run(run.settings, run.spectra, labels, tmp_path / "network")
    scored = Table.read(again.score(run.settings, tmp_path))
    assert scored.meta["labels"] == sentences
    row = scored[(scored["dataset"] == "train_2T") & (scored["index"] == 23)]
    assert np.isnan(row["label_kT"][0])
    assert np.isfinite(row["R_a"][0])


def test_a_part_of_a_fold_without_any_label(run: Run, tmp_path: Path) -> None:
    part = split(50, 5, 1, seed=3).selection
    labels = []
    for path in run.labels:
        table = Table.read(path)
        table["apec.kT"][np.isin(table["index"], part)] = np.nan
        labels.append(tmp_path / path.name)
        table.write(labels[-1], format="ascii.ecsv")
    with pytest.raises(IcflowError, match=r"none of the 10 training spectra of one part of this"):
        fold.run(run.settings.train, run.spectra["train_2T"], labels, tmp_path / "network")


def test_a_population_whose_label_fits_all_fail(run: Run, tmp_path: Path) -> None:
    labels = []
    for path in run.labels:
        table = Table.read(path)
        table["apec.kT"][:] = np.nan
        table["status"] = ["the spectrum holds no counts"] * len(table)
        labels.append(tmp_path / path.name)
        table.write(labels[-1], format="ascii.ecsv")
    problem = (
        r"ecsv: none of the 50 label fits of the dataset train_2T gave apec\.kT "
        r"\(the first: the spectrum holds no counts\); correct its scenario"
    )
    with pytest.raises(IcflowError, match=problem):
        fold.run(run.settings.train, run.spectra["train_2T"], labels, tmp_path / "network")


def test_label_that_does_not_exist(run: Run, tmp_path: Path) -> None:
    rmf = Path(run.settings.train.responses[0])
    absent = make_settings(rmf, labels={"Z": "truth:apec.Abundanc"}).train
    with pytest.raises(IcflowError, match=r"labels\.Z is 'truth:apec\.Abundanc', but the spectra"):
        fold.run(absent, run.spectra["train_2T"], run.labels, tmp_path)
    absent = make_settings(rmf, labels={"Z": "fit:apec.Abundanc"}).train
    with pytest.raises(IcflowError, match=r"lacks the column apec\.Abundanc"):
        fold.run(absent, run.spectra["train_2T"], run.labels, tmp_path)


def test_spectra_of_another_response(run: Run, tmp_path: Path) -> None:
    recorded = (Recorded(np.arange(8), 1.0),)
    short = SpectrumSet(np.ones((2, 8), np.int32), np.arange(2), {}, recorded, "train_2T", "2T")
    path = tmp_path / "short.pha"
    write_spectra(path, short)
    with pytest.raises(IcflowError, match=r"short\.pha: the spectra have 8 channels, the response"):
        fold.run(run.settings.train, [path], run.labels, tmp_path / "network")
