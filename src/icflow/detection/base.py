"""The vocabulary of the detectors: what they read, what they see of IC, what they say."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from icflow.config import Dataset, Detection, Detector
from icflow.detection.metrics import Estimate, decide
from icflow.detection.roc import best_threshold
from icflow.errors import IcflowError
from icflow.tables import rows_of
from icflow.typing import Booleans, Floats, Integers, Strings

if TYPE_CHECKING:
    from astropy.table import Table

# The parts that spectra play: keys of `Detection` that name datasets.
TRAINING, TRAINING_IC, VALIDATION, TEST = PARTS = ("training", "training_ic", "validation", "test")
# Training spectra in the scores of a fold that has held them out: they help to choose its
# threshold, or are only a reference of what thermal spectra are like.
HELD_OUT, REFERENCE = "holdout", "reference"


@dataclass(frozen=True)
class Sample:
    """The spectra of one part.

    Attributes
    ----------
    dataset : (n,) str
        Dataset of each spectrum.
    index : (n,) int
        Its index in the dataset.
    is_ic : (n,) bool
        Whether it holds IC emission.
    """

    dataset: Strings
    index: Integers
    is_ic: Booleans

    @classmethod
    def of(cls, rows: Mapping[str, int | range], with_ic: Mapping[str, bool]) -> Sample:
        """Return some spectra of some datasets; a number stands for so many, the first ones."""
        chosen = [range(own) if isinstance(own, int) else own for own in rows.values()]
        dataset = np.repeat(np.array(list(rows), dtype=str), [len(own) for own in chosen])
        return cls(
            dataset=dataset,
            index=np.fromiter(itertools.chain(*chosen), np.int64),
            is_ic=np.array([with_ic[name] for name in dataset.tolist()], dtype=bool),
        )

    @property
    def datasets(self) -> list[str]:
        """The datasets, each once, in the order of their spectra."""
        return list(dict.fromkeys(self.dataset.tolist()))

    def rows_in(self, dataset: Strings, index: Integers, what: str) -> Integers:
        """Return the rows of a table that hold the spectra, in their order.

        Parameters
        ----------
        dataset, index : (n,) str and int
            What the rows of the table are of.
        what : str
            Its name, for errors; a dataset is named after it.

        Raises
        ------
        IcflowError
            If a spectrum has no row, or more than one.
        """
        rows = np.empty(self.index.size, dtype=np.int64)
        for name in self.datasets:
            here, wanted = np.flatnonzero(dataset == name), self.dataset == name
            rows[wanted] = here[rows_of(index[here], self.index[wanted], f"{what} {name}")]
        return rows


@dataclass(frozen=True)
class Material:
    """Everything that detectors may read.

    Attributes
    ----------
    samples : mapping of str to Sample
        The spectra of each of `PARTS`.
    with_ic : mapping of str to bool
        Whether the spectra of each dataset hold IC emission.
    scores : mapping of str to sequence of astropy.table.Table
        For each network, one score table per trained fold, with the columns
        ``dataset, index, part, R_a``.
    results : mapping of str to mapping of str to mapping of str to astropy.table.Table
        For each of `KINDS`, each part and each name, the results in the order of the part's
        sample, with the columns of the kind; of fits, the parameters too.
    seed : int
        Seed of detectors that need random numbers.
    explain : bool
        Whether detectors that learn are to measure what carries their score.
    verdicts : mapping of str to Verdict
        What other detectors have said, for those that combine them.
    """

    samples: Mapping[str, Sample]
    with_ic: Mapping[str, bool]
    scores: Mapping[str, Sequence[Table]]
    results: Mapping[str, Mapping[str, Mapping[str, Table]]]
    seed: int = 0
    explain: bool = True
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

    def result(self, kind: str, part: str, name: str | None) -> Table:
        """Return the results of one fit, integral or likelihood ratio of the spectra of a part.

        Raises
        ------
        IcflowError
            If there are none.
        """
        table = self.results.get(kind, {}).get(part, {}).get(str(name))
        if table is None:
            what, advice = KINDS[kind].title, KINDS[kind].advice.format(part)
            raise IcflowError(f"there are no results of the {what} {name!r}; {advice}")
        return table

    def verdict(self, test: Floats, validation: Floats, **said: Any) -> Verdict:
        """Return what scores mean, with the threshold that is best on the validation spectra.

        Parameters
        ----------
        test, validation : (n,) and (m,) float
            Scores of the test and of the validation spectra.
        **said
            What else a `Verdict` holds.

        Raises
        ------
        IcflowError
            As `threshold`.
        """
        return Verdict(test, self.threshold(validation), validation, **said)

    def threshold(self, validation: Floats) -> float:
        """Return the threshold of highest balanced accuracy on the validation spectra.

        Parameters
        ----------
        validation : (n,) float
            Their scores.

        Raises
        ------
        IcflowError
            If the finite scores are not of both classes.
        """
        try:
            return best_threshold(validation, self.samples[VALIDATION].is_ic)
        except IcflowError as error:
            raise IcflowError(
                f"{error}; name datasets of both classes under detection.validation"
            ) from None


@dataclass(frozen=True)
class Verdict:
    """What a detector says about the spectra.

    Attributes
    ----------
    score : (n,) float
        Of the test spectra: higher for those that look more like IC; NaN where
        it cannot be had.
    threshold : float
        A spectrum is called IC when its score is above.
    validation : (m,) float
        Scores of the validation spectra.
    fold_thresholds : tuple of float
        The thresholds of the folds behind `threshold`, if it was chosen so.
    fold_accuracies : tuple of float
        The balanced accuracy of each of these folds, judging alone, if the test
        spectra are of both classes.
    unconverged : int
        Test spectra whose score rests on a fit that did not converge.
    log_odds : bool
        Whether the score is itself the logarithm of the odds of IC, with
        nothing to calibrate.
    importances : mapping of str to Estimate
        What carries the score, for detectors that learn: how much each number
        that they read contributes.
    """

    score: Floats
    threshold: float
    validation: Floats
    fold_thresholds: tuple[float, ...] = ()
    fold_accuracies: tuple[float, ...] = ()
    unconverged: int = 0
    log_odds: bool = False
    importances: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def decision(self) -> Booleans:
        """Whether each spectrum is called IC; False where the score is NaN."""
        return decide(self.score, self.threshold)

    @property
    def missing(self) -> int:
        """Number of test spectra without a score."""
        return int(np.isnan(self.score).sum())


@dataclass(frozen=True)
class Sight:
    """What detectors see of spectra with IC, in the words of tables, figures and sentences.

    Attributes
    ----------
    word : str
        In Table 1: what they see.
    note : str
        In the panel of a figure: what one of them does.
    heading : str
        Of a group of them.
    clause : str
        In a sentence, after "those"; empty for those that others cannot be
        measured by.
    """

    word: str
    note: str
    heading: str
    clause: str = ""


# In the order in which tables and figures list detectors.
SEES = {
    "never": Sight("nothing", "never sees IC", "Never see IC", "that never see a spectrum with IC"),
    "threshold": Sight(
        "threshold",
        "IC for the threshold",
        "See IC for the threshold",
        "that see IC to choose their threshold",
    ),
    "training": Sight("training", "trained on IC", "Trained on IC too", "that are trained on IC"),
    "priors": Sight("priors", "knows the priors", "Know the priors"),
}

# Keys of a `Detector` that name a fit, or an integral: without IC, and with IC.
PAIR = ("thermal", "alternative")


class Kind(NamedTuple):
    """Results of every spectrum that detectors read: fits, integrals or likelihood ratios.

    Attributes
    ----------
    word, title : str
        What one of them is called in the metadata of its tables, and in sentences.
    keys : tuple of str
        Keys of a `Detector` that name them.
    columns : tuple of str
        Of their tables.
    advice : str
        How to make them of ``{}`` spectra.
    """

    word: str
    title: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    advice: str


# By the sections of the configuration that name them.
FITS, INTEGRALS, RATIOS = "fits.baseline", "integrals", "ratios"
KINDS = {
    FITS: Kind(
        "fit", "fit", PAIR, ("index", "cstat", "dof", "converged"), "fit the {} spectra with it"
    ),
    INTEGRALS: Kind(
        "integral",
        "integral",
        PAIR,
        ("index", "log_evidence", "error", "effective"),
        "integrate over the priors for the {} spectra",
    ),
    RATIOS: Kind(
        "ratio",
        "likelihood ratio",
        ("ratio",),
        ("index", "log_ratio", "unlike"),
        "estimate it for the {} spectra",
    ),
}


@dataclass(frozen=True)
class Method:
    """A way to score.

    Attributes
    ----------
    judge : callable
        From the settings of a detector and the material to a verdict.
    needs : tuple of str
        The keys of a `Detector` that it needs.
    sees : str
        What it sees of spectra with IC: a key of `SEES`.
    learns : tuple of str
        Parts of the spectra whose fits it learns from.
    reads : str
        Which of `KINDS` it reads.
    """

    judge: Callable[[Detector, Material], Verdict]
    needs: tuple[str, ...]
    sees: str
    learns: tuple[str, ...] = ()
    reads: str = FITS

    def names(self, detector: Detector, kind: str) -> list[str]:
        """Return the names of the results of a kind that a detector reads."""
        if self.reads != kind:
            return []
        return [str(getattr(detector, key)) for key in KINDS[kind].keys if key in self.needs]


def sizes_of(detection: Detection, datasets: Mapping[str, Dataset]) -> dict[str, dict[str, int]]:
    """Return for each part its datasets, and how many of their spectra play it.

    Of the training datasets these are the spectra that are fitted.
    """
    named = {
        TRAINING: [detection.training],
        TRAINING_IC: [] if detection.training_ic is None else [detection.training_ic],
        VALIDATION: detection.validation,
        TEST: detection.test,
    }
    most = {TRAINING: detection.fitted, TRAINING_IC: detection.fitted}
    return {
        part: {
            name: min(datasets[name].size, most.get(part, datasets[name].size)) for name in names
        }
        for part, names in named.items()
    }


def with_ic(datasets: Mapping[str, Dataset], training: str) -> dict[str, bool]:
    """Return for each dataset whether it is of the positive class, IC.

    Where a dataset does not say so itself, positive is what does not follow the
    scenario of the training dataset, which is thermal by the design of the method.
    """
    thermal = datasets[training].scenario
    return {
        name: dataset.scenario != thermal if dataset.ic is None else dataset.ic
        for name, dataset in datasets.items()
    }
