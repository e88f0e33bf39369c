"""What helps a detector that learns from 2T spectra alone, and what R_a is sensitive to.

    python benchmarks/ablation.py [--results results] [--output .]

Reads spectra, networks and scores of a run (fold 0). Prints one row per way to
score, with thresholds of the highest balanced accuracy on the validation
spectra, and balanced accuracy and area under the ROC of the test spectra with
68 % bootstrap intervals, as a Markdown table. Where more folds were trained, rows
follow that compare fold 0 with all of them, as the detectors join them and with
the thresholds that they choose, and the scatter of single folds. Draws
`sensitivity.png`, of the validation spectra.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import NearestNeighbors

from icflow import config as configuration
from icflow.config import Config
from icflow.detection.base import TEST, VALIDATION, Material, Sample, with_ic
from icflow.detection.detectors import detect
from icflow.detection.methods.latent_density import improbability
from icflow.detection.roc import auc, best_threshold
from icflow.networks import devices, weights
from icflow.networks.data import Channels, select_channels
from icflow.networks.inputs import Inputs, read_inputs
from icflow.networks.scoring import reconstruct
from icflow.ogip.response import read_rmf
from icflow.publish.figures import style
from icflow.tables import floats, read_table, strings

Floats = np.ndarray
CONFIG = Path(__file__).parents[1] / "config.yaml"
LATENTS = ("kT_cool", "kT_hot", "ln_norm_cool", "ln_norm_hot")
RESAMPLINGS = 1000
ENSEMBLES = ("cae", "cae_deviance", "latent_density")  # detectors compared with one fold of theirs

Folds = dict[str, list[Table]]  # scores of each network, fold by fold


@dataclass(frozen=True)
class Part:
    """Spectra of one part: which are IC, their rates, and the scores of each network."""

    is_ic: np.ndarray
    inputs: list[Inputs]
    scores: dict[str, Table]

    @property
    def rates(self) -> Floats:
        return np.concatenate([inputs.rates for inputs in self.inputs])

    @property
    def sample(self) -> Sample:
        table = self.scores["dense"]
        return Sample(np.array(strings(table, "dataset")), np.asarray(table["index"]), self.is_ic)

    def latents(self, names: tuple[str, ...] = LATENTS) -> Floats:
        table = self.scores["dense"]
        return np.stack([floats(table, f"latent_{name}") for name in names], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="what helps a detector that sees 2T spectra only")
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--output", type=Path, default=Path())
    args = parser.parse_args()
    devices.prepare(1)
    config = configuration.load(CONFIG)
    folds = read_folds(config, args.results)
    validation = read_part(config, args.results, folds, "validation")
    test = read_part(config, args.results, folds, "test")
    held = read_part(config, args.results, folds, "holdout")
    print("| score | balanced accuracy | area under ROC |\n| --- | --- | --- |")
    found = ways(held, validation, test)
    for name, (v, t) in found.items():
        threshold = best_threshold(v, validation.is_ic)
        accuracy = with_interval(lambda s, c, at=threshold: balanced(s > at, c), t, test.is_ic)
        print(f"| {name} | {accuracy} | {with_interval(auc, t, test.is_ic)} |")
    compare_folds(config, folds, validation, test)
    compare_precision(found, test.is_ic)
    network = args.results / "train/cae/fold-0/weights.safetensors"
    with style.context():
        draw(config, validation, network, args.output / "sensitivity.png")


def read_folds(config: Config, results: Path) -> Folds:
    """Return the scores of each network, those of fold 0 first."""
    found = {}
    for network in config.autoencoder.networks:
        paths = (results / f"score/{network}").glob("fold-*[0-9].ecsv")
        ordered = sorted(paths, key=lambda path: (len(path.name), path.name))
        found[network] = [read_table(path) for path in ordered]
    return found


def read_part(config: Config, results: Path, folds: Folds, part: str) -> Part:
    """Return the spectra that play a part in fold 0, in the order of the score tables."""
    detection = config.detection
    datasets = [detection.training] if part == "holdout" else list(getattr(detection, part))
    classes = with_ic(config.datasets, detection.training)
    channels = Channels.of([read_rmf(module.rmf) for module in config.modules])
    scores = {
        network: first[np.array(strings(first, "part")) == part]
        for network, (first, *_) in folds.items()
    }
    inputs = []
    if part != "holdout":
        for name in datasets:
            files = sorted((results / f"simulate/{name}").glob("shard-*.pha"))
            inputs.append(read_inputs(files, channels, config.autoencoder.energies))
            if list(inputs[-1].index) != list(table_of(scores["dense"], name)["index"]):
                raise SystemExit(f"{name}: the scores are of other spectra; score them again")
    order = strings(scores["dense"], "dataset")
    return Part(np.array([classes[name] for name in order]), inputs, scores)


def table_of(table: Table, dataset: str) -> Table:
    return table[np.array(strings(table, "dataset")) == dataset]


# --- ways to score -----------------------------------------------------------------


def ways(held: Part, validation: Part, test: Part) -> dict[str, tuple[Floats, Floats]]:
    """Return the scores of validation and test spectra by each way to score."""
    known = held.latents()
    bright = {id(part): part.rates.sum(1) for part in (validation, test)}

    def both(score):  # type: ignore[no-untyped-def]
        return score(validation), score(test)

    def column(network: str, name: str):  # type: ignore[no-untyped-def]
        return both(lambda part: floats(part.scores[network], name))

    def tails(names: tuple[str, ...]):  # type: ignore[no-untyped-def]
        return both(lambda part: improbability(held.latents(names), part.latents(names)))

    mean, spread = known.mean(0), known.std(0)
    near = NearestNeighbors(n_neighbors=20).fit((known - mean) / spread)
    mixture = GaussianMixture(6, random_state=0).fit(known)
    inverse = np.linalg.inv(np.cov(known.T))
    expected = np.log(floats(held.scores["cae"], "deviance"))

    def calibrated(part: Part) -> Floats:
        rows = near.kneighbors((part.latents() - mean) / spread, return_distance=False)
        return np.log(floats(part.scores["cae"], "deviance")) - np.median(expected[rows], axis=1)

    return {
        "R_a of the CAE (published)": column("cae", "R_a"),
        "R_a of the AE (published)": column("ae", "R_a"),
        "R_a of the CAE over squared total rate": both(
            lambda part: floats(part.scores["cae"], "R_a") / bright[id(part)] ** 2
        ),
        "deviance of the CAE": column("cae", "deviance"),
        "deviance of the AE": column("ae", "deviance"),
        "deviance of the CAE over what 2T spectra of like latents have": both(calibrated),
        "deviance of the dense network, which learns by it": column("dense", "deviance"),
        "**tails of the latents, kT and norm of both plasmas** (`latent_density`)": tails(LATENTS),
        "tails of the latents, norms only": tails(LATENTS[2:]),
        "tails of the latents, temperatures only": tails(LATENTS[:2]),
        "distance of the latents to the 20th neighbour": both(
            lambda part: near.kneighbors((part.latents() - mean) / spread)[0][:, -1]
        ),
        "Gaussian mixture of the latents": both(lambda p: -mixture.score_samples(p.latents())),
        "Mahalanobis distance of the latents": both(
            lambda part: np.einsum(
                "ni,ij,nj->n", part.latents() - mean, inverse, part.latents() - mean
            )
        ),
        "faintness alone: minus the total count rate": both(lambda part: -bright[id(part)]),
    }


def compare_folds(config: Config, folds: Folds, validation: Part, test: Part) -> None:
    """Print rows of fold 0 and of all folds together, and how much single folds scatter."""
    samples = {VALIDATION: validation.sample, TEST: test.sample}
    classes = with_ic(config.datasets, config.detection.training)
    scatter = []
    for name in ENSEMBLES:
        detector = config.detection.detectors[name]
        network = str(detector.network)
        tables = folds[network]
        if len(tables) == 1:
            continue
        *alone, together = (
            detect(name, detector, Material(samples, classes, {network: chosen}, results={}))
            for chosen in (*([table] for table in tables), tables)
        )
        for what, found in (
            ("fold 0 alone", alone[0]),
            (f"median over {len(tables)} folds", together),
        ):
            accuracy = with_interval(balanced, found.decision, test.is_ic)
            print(f"| `{name}`, {what} | {accuracy} | "
                  f"{with_interval(auc, found.score, test.is_ic)} |")  # fmt: skip
        single = [balanced(found.decision, test.is_ic) for found in alone]
        scatter.append(
            f"{name} {np.mean(single):.3f} ± {np.std(single, ddof=1):.3f} ({len(single)} folds)"
        )
    if scatter:
        print(f"balanced accuracy of single folds, mean ± standard deviation: {', '.join(scatter)}")


def balanced(called: np.ndarray, is_ic: np.ndarray) -> float:
    return float(0.5 * (called[is_ic].mean() + (~called[~is_ic]).mean()))


def with_interval(measure, score: Floats, is_ic: np.ndarray) -> str:  # type: ignore[no-untyped-def]
    """Return a measure with its 68 % interval, from resamplings within each class."""
    random = np.random.default_rng(1)
    classes = [np.flatnonzero(is_ic == value) for value in (False, True)]
    found = []
    for _ in range(RESAMPLINGS):
        rows = np.concatenate([random.choice(rows, rows.size) for rows in classes])
        found.append(measure(score[rows], is_ic[rows]))
    low, high = np.quantile(found, [0.1585, 0.8415])
    return f"{measure(score, is_ic):.3f} ({low:.3f}–{high:.3f})"


def compare_precision(found: dict[str, tuple[Floats, Floats]], is_ic: np.ndarray) -> None:
    """Print by how much the precision of the tails of the latents exceeds that of R_a."""
    names = ["R_a of the CAE (published)", next(name for name in found if "latent_density" in name)]
    precision = []
    for name in names:
        caught = np.cumsum(is_ic[np.argsort(-found[name][1], kind="stable")])
        precision.append(caught / np.arange(1, caught.size + 1))
        recall = caught / is_ic.sum()
        # At each recall the first, that is most precise, place that reaches it.
        steps = np.searchsorted(recall, np.arange(1, 101) / 100 - 1e-9)
        precision[-1] = precision[-1][steps]
    gain = precision[1] - precision[0]
    print(f"precision of the tails minus that of R_a, at recalls of 0.01 to 1: {gain.min():+.3f} "
          f"(recall {(gain.argmin() + 1) / 100:.2f}) to {gain.max():+.3f}")  # fmt: skip


# --- figure ------------------------------------------------------------------------


def draw(config: Config, part: Part, network_path: Path, path: Path) -> None:
    """Draw R_a, deviance and the tails of the latents against brightness, and R_a by energy."""
    state, description = weights.load_weights(network_path)
    network = weights.build(network_path, state, description)
    rmf = read_rmf(config.modules[0].rmf)
    inside = select_channels(rmf.e_min, rmf.e_max, config.autoencoder.energies)
    energy = 0.5 * (rmf.e_min + rmf.e_max)[inside]
    rates = part.rates
    made, _ = reconstruct(network, rates)
    scored = (energy > config.detection.score_energies[0]) & (
        energy < config.detection.score_energies[1]
    )
    squared = ((rates - made)[:, scored] ** 2).mean(0)
    figure, axes = style.grid(1, 3, style.DOUBLE_COLUMN, 2.5)
    bright = rates.sum(1) * 0.04
    for panel, column, title in zip(
        axes[0],
        ("R_a", "deviance"),
        (f"CAE $R_a$ ({style.SQUARED_RATE})", "CAE deviance per channel"),
        strict=False,
    ):
        score = floats(part.scores["cae"], column)
        for is_ic, color, name in ((False, style.THERMAL, "2T"), (True, style.IC, "1T+IC")):
            rows = part.is_ic == is_ic
            panel.plot(
                bright[rows], score[rows], ".", ms=2, alpha=0.5, color=color, label=name,
                rasterized=True,
            )  # fmt: skip
        panel.set(yscale="log", xlabel="Count rate (counts s$^{-1}$)", ylabel=title)
        style.log_axis(panel)
    axes[0, 0].legend(markerscale=4)
    share = np.cumsum(squared) / squared.sum()
    noise = rates.mean(0)[scored] / part.inputs[0].counts_per_rate[scored]
    counts = np.cumsum(rates.mean(0)[scored]) / rates.mean(0)[scored].sum()
    axes[0, 2].plot(energy[scored], share, color=style.BLACK, label="$R_a$")
    axes[0, 2].plot(energy[scored], counts, color=style.GREY, ls="--", label="counts")
    axes[0, 2].set(
        xscale="log", xlabel="Energy (keV)", ylabel="Part that comes from below", ylim=(0, 1.02)
    )
    style.energy_ticks(axes[0, 2], *config.detection.score_energies)
    axes[0, 2].legend()
    style.save(figure, path, 200)
    score = floats(part.scores["cae"], "R_a")
    print(f"half of R_a comes from below {energy[scored][np.searchsorted(share, 0.5)]:.1f} keV, "
          f"95 % from below {energy[scored][np.searchsorted(share, 0.95)]:.1f} keV")  # fmt: skip
    print(f"noise alone gives R_a = {noise.mean():.1e}; median R_a {np.median(score):.1e}")
    for is_ic, name in ((False, "2T"), (True, "1T+IC")):
        rows = part.is_ic == is_ic
        rank = [np.argsort(np.argsort(x[rows])) for x in (bright, score)]
        print(f"rank correlation of R_a and count rate, {name}: {np.corrcoef(*rank)[0, 1]:.2f}")


if __name__ == "__main__":
    main()
