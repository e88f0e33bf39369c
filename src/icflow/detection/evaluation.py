"""The evaluation: what every detector says about the test spectra, and what that is worth.

Every number is computed for the test spectra as they are and for each
resampling of them, which all detectors share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from astropy.table import Column, Table

from icflow.config import Detection
from icflow.detection import confusion, differences, population, quality
from icflow.detection.base import (
    FITS,
    PARTS,
    TEST,
    VALIDATION,
    Material,
    Sample,
    Verdict,
    sizes_of,
)
from icflow.detection.base import with_ic as classes_of
from icflow.detection.calibration import Calibration, probability_of
from icflow.detection.columns import IDENTITY, TRUTH, check_columns, columns_of
from icflow.detection.detectors import METHODS, in_order, judge
from icflow.detection.metrics import Estimate
from icflow.detection.published import PUBLISHED
from icflow.detection.quality import Resampling
from icflow.errors import IcflowError
from icflow.seeds import generator
from icflow.settings import EvaluateSettings
from icflow.tables import finite
from icflow.typing import Floats

# How a table of fits names what it was made with, and what we call it.
VERSIONS = {
    "ENGINE": "engine",
    "XSPECVER": "XSPEC",
    "ATOMDB": "AtomDB",
    "ABUND": "abundances",
    "XSECT": "cross sections",
    "strategy": "fits",
}


def samples_of(settings: EvaluateSettings) -> tuple[dict[str, Sample], dict[str, bool]]:
    """Return the spectra of each part, and whether those of each dataset hold IC emission."""
    classes = classes_of(settings.datasets, settings.detection.training)
    sizes = sizes_of(settings.detection, settings.datasets)
    return {part: Sample.of(sizes[part], classes) for part in PARTS}, classes


@dataclass(frozen=True)
class Evaluation:
    """Detectors, in the order of the tables, with what they say about the test spectra.

    Attributes
    ----------
    settings : EvaluateSettings
    material : Material
    verdicts : mapping of str to Verdict
    probabilities : mapping of str to (n,) float
        Probabilities of IC at even odds.
    draws : mapping of str to mapping of str to (1 + repeats,) float
        How good each is, on the test spectra as they are and on every resampling.
    """

    settings: EvaluateSettings
    material: Material
    verdicts: Mapping[str, Verdict]
    probabilities: Mapping[str, Floats]
    draws: Mapping[str, Mapping[str, Floats]]

    @classmethod
    def of(cls, settings: EvaluateSettings, material: Material) -> Evaluation:
        """Judge every detector of the configuration.

        Raises
        ------
        IcflowError
            If a detector lacks its inputs, or cannot be calibrated.
        """
        detection, samples = settings.detection, material.samples
        judged = judge(detection.detectors, material)
        verdicts = {name: judged[name] for name in in_order(detection.detectors)}
        probabilities = {
            name: _probability(name, verdict, samples[VALIDATION])
            for name, verdict in verdicts.items()
        }
        resampling = Resampling.draw(
            samples[TEST].is_ic, detection.bootstrap, generator(settings.seed, "resampling")
        )
        draws = {
            name: measure(verdict, probabilities[name], resampling, detection)
            for name, verdict in verdicts.items()
        }
        return cls(settings, material, verdicts, probabilities, draws)

    def report(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``."""
        detection, material = self.settings.detection, self.material
        return {
            "datasets": _datasets(self.settings, material.with_ic),
            "population": population.describe(self.settings.tested.values()),
            "seed": self.settings.seed,
            "bootstrap": detection.bootstrap,
            "ceiling": detection.ceiling,
            "training": _training(material.scores),
            "versions": _versions(list(material.results[FITS][TEST].values())),
            "detectors": {name: self._detector(name) for name in self.verdicts},
            "differences": {
                first: {other: _plain(estimates) for other, estimates in others.items()}
                for first, others in differences.compare(self.draws).items()
            },
        }

    def _detector(self, name: str) -> dict[str, Any]:
        verdict, is_ic = self.verdicts[name], self.material.samples[TEST].is_ic
        detector = self.settings.detection.detectors[name]
        published = PUBLISHED.get(name)
        return {
            "title": detector.title,
            "method": detector.method,
            "sees": METHODS[detector.method].sees,
            "threshold": verdict.threshold,
            "fold_thresholds": list(verdict.fold_thresholds),
            "fold_accuracies": list(verdict.fold_accuracies),
            "n_test": int(is_ic.size),
            "confusion": confusion.cells(confusion.count(verdict.decision, is_ic)),
            "missing": verdict.missing,
            "unconverged": verdict.unconverged,
            **_plain({key: Estimate.of(values) for key, values in self.draws[name].items()}),
            "importances": _plain(verdict.importances),
            "published": asdict(published) if published else None,
        }

    def scores(self, truth: Mapping[str, Floats | Column]) -> Table:
        """Return one row per test spectrum: class, truth, and what every detector says.

        Raises
        ------
        IcflowError
            If a detector has the name of another column.
        """
        check_columns(self.verdicts)
        table = _identities(self.material.samples[TEST])
        for name, values in truth.items():
            table[f"{TRUTH}{name}"] = values
        for name, verdict in self.verdicts.items():
            column = columns_of(name)
            table[column.score] = verdict.score
            table[column.decision] = verdict.decision
            table[column.probability] = self.probabilities[name]
        table.meta["thresholds"] = {name: v.threshold for name, v in self.verdicts.items()}
        return table

    def validation(self) -> Table:
        """Return one row per validation spectrum: class, and score of every detector."""
        table = _identities(self.material.samples[VALIDATION])
        for name, verdict in self.verdicts.items():
            table[name] = verdict.validation
        return table


def _identities(sample: Sample) -> Table:
    return Table({column: getattr(sample, column) for column in IDENTITY})


def _probability(name: str, verdict: Verdict, validation: Sample) -> Floats:
    """Return the probabilities of IC that a detector's scores of the test spectra mean."""
    if verdict.log_odds:
        return probability_of(verdict.score)
    try:
        return Calibration.fit(verdict.validation, validation.is_ic).apply(verdict.score)
    except IcflowError as error:
        raise IcflowError(f"detection.detectors.{name}: {error}") from None


def measure(
    verdict: Verdict, probability: Floats, resampling: Resampling, detection: Detection
) -> dict[str, Floats]:
    """Return how good a detector is, on the test spectra and on every resampling of them."""
    is_ic, rates = resampling.is_ic, (detection.recalls, detection.false_alarms)
    return resampling.apply(
        lambda weights: (
            quality.of_decisions(verdict.decision, is_ic, weights)
            | quality.of_scores(verdict.score, is_ic, *rates, weights)
            | quality.of_probabilities(probability, is_ic, weights)
        )
    )


# --- metrics.json -----------------------------------------------------------------


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float | None]]:
    """Return estimates as JSON takes them, which knows no NaN: undefined numbers become null."""
    return {
        key: {part: finite(number) for part, number in asdict(estimate).items()}
        for key, estimate in estimates.items()
    }


def _datasets(settings: EvaluateSettings, classes: Mapping[str, bool]) -> dict[str, Any]:
    sizes = sizes_of(settings.detection, settings.datasets)
    roles = {name: part for part, names in sizes.items() for name in names}
    return {
        name: {
            "scenario": settings.datasets[name].scenario,
            "size": settings.datasets[name].size,
            "role": role,
            "is_ic": classes[name],
        }
        for name, role in roles.items()
    }


def _training(scores: Mapping[str, Sequence[Table]]) -> dict[str, Any]:
    """Return how the networks were trained, as their score tables state it.

    Networks share all settings but the epochs, which are stated by network; sentences on
    labels that were missing or had not converged follow.
    """
    stated = {
        network: folds[0].meta["training"]
        for network, folds in scores.items()
        if "training" in folds[0].meta
    }
    if not stated:
        return {}
    epochs = {network: training["epochs"] for network, training in stated.items()}
    doubts = dict.fromkeys(
        sentence for network in stated for sentence in scores[network][0].meta.get("labels", [])
    )
    told = {"labels": list(doubts)} if doubts else {}
    return {**next(iter(stated.values())), "epochs": epochs, **told}


def _versions(fits: Iterable[Table]) -> dict[str, str]:
    """Return engine and versions behind the fits, as their tables state them."""
    stated = {
        title: sorted({str(table.meta[key]) for table in fits if key in table.meta})
        for key, title in VERSIONS.items()
    }
    return {title: " and ".join(values) for title, values in stated.items() if values}
