"""Where every result lies below the folder of the results.

A folder is named after the command that writes it. Rules, commands, figures, report and
tests ask here, so that a path is spelled once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from icflow.errors import IcflowError

# A shard, a fold or a name, or Snakemake's wildcard for it, such as ``{shard}``.
Number = int | str

TABLES = ("table1.csv", "table1.tex", "table1.md", "differences.csv", "differences.md")
# What an evaluation writes into its folder; at the points of scans the last as well.
JUDGED, METRICS, VALIDATION = "scores.ecsv", "metrics.json", "validation.ecsv"
AT_POINT = (JUDGED, METRICS, VALIDATION)
# What the comparison of the points of a scan writes.
SCAN_CSV, SCAN_MARKDOWN, SCAN_CURVES = "table.csv", "table.md", "curves.ecsv"
COMPARED = (SCAN_CSV, SCAN_MARKDOWN, SCAN_CURVES)
# What the analysis of an observation writes, and what its page shows.
SUMMARY, SPECTRUM, SIMULATIONS = "summary.json", "spectrum.ecsv", "simulations.ecsv"
PROFILE = "profile.ecsv"
OBSERVED = (SUMMARY, SPECTRUM, SIMULATIONS, PROFILE)
# A network; for one observation, with the spectra that it was trained with.
WEIGHTS, HISTORY, TRAINING_SPECTRA = "weights.safetensors", "history.ecsv", "training.pha"
TRAINED = (WEIGHTS, HISTORY)
TRAINED_OBSERVED = (*TRAINED, TRAINING_SPECTRA)
# Folders that the versions before 0.2 wrote, under names that no command has now.
BEFORE = (
    *("spectra", "labels", "fits", "integrals", "networks", "scores", "evaluation"),
    *("figures/data", "observations", "scans"),
)


@dataclass(frozen=True)
class Layout:
    """The results of one run.

    Attributes
    ----------
    root : Path
        Folder of the results.
    """

    root: Path = Path("results")

    # --- spectra and what is measured of each ----------------------------------------

    def spectra(self, dataset: str, shard: Number) -> Path:
        """Return the spectra of a shard, OGIP type II."""
        return self.root / "simulate" / dataset / f"{_shard(shard)}.pha"

    def truth(self, dataset: str, shard: Number) -> Path:
        """Return the true parameters of the spectra of a shard."""
        return truth_of(self.spectra(dataset, shard))

    def labels(self, dataset: str, shard: Number) -> Path:
        """Return the fits that label the spectra of a shard."""
        return self.root / "label" / dataset / f"{_shard(shard)}.ecsv"

    def fits(self, dataset: str, fit: str, shard: Number) -> Path:
        """Return one fit of the spectra of a shard."""
        return self.root / "baseline" / dataset / fit / f"{_shard(shard)}.ecsv"

    def integrals(self, dataset: str, integral: str, shard: Number) -> Path:
        """Return one integral of the spectra of a shard."""
        return self.root / "integrate" / dataset / integral / f"{_shard(shard)}.ecsv"

    def ratio(self, ratio: str) -> Path:
        """Return the folder of the network of a likelihood ratio; it holds the files `TRAINED`."""
        return self.root / "ratio" / ratio

    def ratio_weights(self, ratio: str) -> Path:
        """Return the weights of the network of a likelihood ratio."""
        return self.ratio(ratio) / WEIGHTS

    def estimates(self, dataset: str, ratio: str, shard: Number) -> Path:
        """Return one likelihood ratio of the spectra of a shard."""
        return self.root / "estimate" / dataset / ratio / f"{_shard(shard)}.ecsv"

    # --- networks --------------------------------------------------------------------

    def trained(self, network: str, fold: Number) -> Path:
        """Return the folder of a network trained in a fold; it holds the files `TRAINED`."""
        return self.root / "train" / network / f"fold-{fold}"

    def weights(self, network: str, fold: Number) -> Path:
        """Return the weights of a network in a fold."""
        return self.trained(network, fold) / WEIGHTS

    def history(self, network: str, fold: Number) -> Path:
        """Return how the training of a network in a fold went."""
        return self.trained(network, fold) / HISTORY

    def scores(self, network: str, fold: Number, scan: str | None = None) -> Path:
        """Return what a network says about the spectra, those of a scan if one is given."""
        root = self.root if scan is None else self.scan(scan)
        return root / "score" / network / f"fold-{fold}.ecsv"

    def reconstructions(self, network: str, fold: Number) -> Path:
        """Return examples of spectra and their reconstructions."""
        return self.reconstructions_of(self.scores(network, fold))

    @staticmethod
    def reconstructions_of(scores: Path) -> Path:
        """Return the examples of reconstructions beside a table of scores."""
        return scores.with_name(f"{scores.stem}-reconstructions.ecsv")

    # --- the evaluation ----------------------------------------------------------------

    def fluxes(self, scan: str | None = None) -> Path:
        """Return the true fluxes of the test spectra, those of a scan if one is given."""
        if scan is not None:
            return self.scan(scan) / "fluxes.ecsv"
        return self.root / "fluxes" / "fluxes.ecsv"

    @property
    def judged(self) -> Path:
        """The test spectra with the score and the decision of every detector."""
        return self.root / "evaluate" / JUDGED

    @property
    def metrics(self) -> Path:
        """Thresholds and everything that is measured of the detectors."""
        return self.root / "evaluate" / METRICS

    @property
    def tables(self) -> list[Path]:
        """The tables that people read."""
        return [self.root / "tables" / name for name in TABLES]

    def components(self, dataset: str) -> Path:
        """Return the expected counts of the components of one spectrum."""
        return self.root / "components" / f"{dataset}.ecsv"

    def figure(self, name: str, suffix: str) -> Path:
        """Return a file of a figure; `name` is that of the file."""
        return self.root / "figures" / f"{name}.{suffix}"

    @property
    def record(self) -> Path:
        """What the run was made with."""
        return self.root / "run.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report.html"

    @property
    def benchmarks(self) -> Path:
        """Folder of the run times."""
        return self.root / "benchmarks"

    def benchmark(self, result: Path) -> Path:
        """Return the run time of the job that made a result, or a folder of results."""
        return (self.benchmarks / result.relative_to(self.root)).with_suffix(".tsv")

    def log(self, result: Path) -> Path:
        """Return what the job that made a result, or a folder of results, said."""
        return (self.root / "logs" / result.relative_to(self.root)).with_suffix(".log")

    # --- beside the run ------------------------------------------------------------------

    def scan(self, scan: str) -> Path:
        """Return the folder of a scan; it holds the files `COMPARED` and ``figure.*``."""
        return self.root / "scan" / scan

    def point(self, scan: str, point: str) -> Path:
        """Return the folder of the evaluation at a point of a scan."""
        return self.scan(scan) / "points" / point

    def observation(self, name: str) -> Path:
        """Return the folder of an observation; it holds `OBSERVED` and ``observation.*``."""
        return self.root / "observe" / name

    def observed_network(self, name: str, network: str) -> Path:
        """Return the folder of a network for an observation; it holds `TRAINED_OBSERVED`."""
        return network_of(self.observation(name), network)

    def observed_ratio(self, name: str, ratio: str) -> Path:
        """Return the folder of a likelihood ratio for an observation; it holds `TRAINED`."""
        return ratio_of(self.observation(name), ratio)

    def responses(self, name: str) -> Path:
        """Return the folder in which response files are made; they lie elsewhere."""
        return self.root / "responses" / name

    def fetched(self, resource: str) -> Path:
        """Return what the log of a resource that is fetched is named after."""
        return self.root / "fetch" / resource

    def comparison(self, suffix: str) -> Path:
        """Return a file of the comparison of the engines."""
        return self.root / "compare_engines" / f"comparison.{suffix}"

    # --- what another version left ---------------------------------------------------------

    def check_version(self) -> None:
        """Check that the folder holds no results of a version that named them otherwise.

        Raises
        ------
        IcflowError
            If it does: its results would stand beside the new ones, and neither is the other.
        """
        old = [name for name in BEFORE if (self.root / name).is_dir()]
        if old:
            raise IcflowError(
                f"{self.root}: holds {' and '.join(old)}, folders of results made by an earlier "
                "version of icflow; move that folder away or delete it, then run again"
            )


def truth_of(spectra: Path) -> Path:
    """Return the table of true parameters beside a file of simulated spectra."""
    return spectra.with_suffix(".truth.ecsv")


def network_of(observation: Path, network: str) -> Path:
    """Return the folder of a network within that of an observation."""
    return observation / "networks" / network


def ratio_of(observation: Path, ratio: str) -> Path:
    """Return the folder of a likelihood ratio within that of an observation."""
    return observation / "ratios" / ratio


def images_of(observation: Path, formats: Iterable[str]) -> list[Path]:
    """Return the files of the page of an observation."""
    return [observation / f"observation.{suffix}" for suffix in formats]


def figures_of(scan: Path, formats: Iterable[str]) -> list[Path]:
    """Return the files of the figure of a scan."""
    return [scan / f"figure.{suffix}" for suffix in formats]


def _shard(shard: Number) -> str:
    return f"shard-{shard:04d}" if isinstance(shard, int) else f"shard-{shard}"
