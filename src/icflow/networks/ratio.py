"""A network that estimates the likelihood ratio of two hypotheses from spectra in coarse bins.

Who tells spectra of two populations apart as well as can be knows the ratio of their likelihoods,
averaged over all that varies in them: a classifier's logit is ln of that ratio, if both are equally
frequent. So the network learns to tell apart simulated spectra, of which none is seen twice, and
what is wrong with calibration and background is averaged over by drawing it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations_with_replacement
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from icflow import seeds
from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.networks.checkpoints import read_checkpoint
from icflow.networks.training import CHECKPOINT_INTERVAL, fast_rate
from icflow.settings import RatioSettings
from icflow.typing import Booleans, Floats, Integers

COMPONENTS = 40  # principal components of the bins that the network sees
# Components of which polynomials of this degree foretell the others.
LEADING, DEGREE = 7, 3
PREPARED = 50_000  # spectra that whitening, calibration and limits are taken from, each
VALIDATED = 20_000  # spectra of the loss in the history
RECORDS = 50  # rows of the history
LARGEST_GRADIENT = 1.0
DECAY = 1e-4  # of the weights
# Spectra farther out than all but this fraction of those that are drawn are unlike them.
UNLIKE = 1e-3
# How far known parameters may lie outside of those drawn, as a fraction of their range.
MARGIN = 0.02
NEWTON_STEPS = 20


class Spectra(NamedTuple):
    """Spectra of both hypotheses.

    Attributes
    ----------
    counts : ndarray of int, shape (n, n_bins)
    known : ndarray, shape (n, n_known)
    is_ic : ndarray of bool, shape (n,)
    """

    counts: Integers
    known: Floats
    is_ic: Booleans


# Draws so many spectra, half of each hypothesis.
Draw = Callable[[int, np.random.Generator], Spectra]


class RatioNetwork(nn.Module):
    """From the counts of bins, and what is known of a spectrum, to ln of the likelihood ratio.

    Counts are stabilised (after the transformation of Anscombe noise is the same in every bin) and
    turned into principal components, each in units of its own scatter. A few of them hold most of
    what varies; that the others follow from them is bent, and what tells the hypotheses apart is
    how the others depart from it. So they are given once more, less what a polynomial of the few
    foretells.

    Parameters
    ----------
    bins, known : int
        Numbers of bins, and of parameters that are known.
    units, layers : int
        Width of the residual layers, and how many there are.
    """

    def __init__(self, bins: int, known: int, units: int, layers: int) -> None:
        super().__init__()
        components = min(COMPONENTS, bins)
        self.leading = min(LEADING, components)
        others = components - self.leading
        self.inputs = nn.Linear(components + known + others, units)
        self.layers = nn.ModuleList([_Residual(units) for _ in range(layers)])
        self.output = nn.Sequential(nn.LayerNorm(units), nn.Linear(units, 1))
        buffers = {
            "mean": torch.zeros(bins),
            "whitening": torch.zeros(bins, components),
            "known_mean": torch.zeros(known),
            "known_scale": torch.ones(known),
            # Of the other components by the monomials, in units of what is left of each.
            "foretold": torch.zeros(len(_monomials(self.leading + known)), others),
            "left": torch.ones(others),
            # Lowest and highest value of what is known; squared distances that few spectra exceed.
            "known_range": torch.zeros(2, known),
            "farthest": torch.zeros(2),
            "calibration": torch.tensor([1.0, 0.0]),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values)
        self.mean: Tensor
        self.whitening: Tensor
        self.known_mean: Tensor
        self.known_scale: Tensor
        self.foretold: Tensor
        self.left: Tensor
        self.known_range: Tensor
        self.farthest: Tensor
        self.calibration: Tensor

    def adapt(self, spectra: Spectra) -> None:
        """Find the whitening of counts, the scale of what is known and the polynomials."""
        stabilised = _stabilised(spectra.counts).double()
        self.mean.copy_(stabilised.mean(0))
        centred = stabilised - stabilised.mean(0)
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        # The largest first.
        chosen = torch.arange(len(values)).flip(0)[: self.whitening.shape[1]]
        self.whitening.copy_(vectors[:, chosen] / values[chosen].clamp(min=0.5).sqrt())
        known = torch.from_numpy(spectra.known)
        if len(known.T):
            self.known_mean.copy_(known.mean(0))
            self.known_scale.copy_(known.std(0).clamp(min=1e-12))
            self.known_range.copy_(torch.stack([known.min(0).values, known.max(0).values]))
        white, told = self._white(spectra.counts).double(), self._told(spectra.known).double()
        terms, others = self._terms(white, told), white[:, self.leading :]
        self.foretold.copy_(torch.linalg.lstsq(terms, others).solution)
        self.left.copy_((others - terms @ self.foretold.double()).std(0))

    def forward(self, counts: Integers, known: Floats) -> Tensor:
        """Return ln of the likelihood ratio (n,), before its calibration."""
        white, told = self._white(counts), self._told(known)
        foretold = self._terms(white, told) @ self.foretold
        departing = (white[:, self.leading :] - foretold) / self.left
        features = self.inputs(torch.cat([white, told, departing], dim=1))
        for layer in self.layers:
            features = layer(features)
        logits: Tensor = self.output(features)[:, 0]
        return logits

    def log_odds(self, counts: Integers, known: Floats) -> Floats:
        """Return ln of the likelihood ratio (n,), calibrated."""
        with torch.inference_mode():
            scale, offset = self.calibration.double()
            return np.asarray((scale * self(counts, known).double() + offset).numpy())

    def calibrate(self, spectra: Spectra) -> None:
        """Make the logits those of the frequencies among fresh spectra, and find its limits."""
        with torch.inference_mode():
            logits = self(spectra.counts, spectra.known).double().numpy()
        self.calibration.copy_(torch.tensor(_logistic(logits, spectra.is_ic)))
        distances = self._distances(spectra.counts)
        self.farthest.copy_(torch.quantile(distances, 1 - UNLIKE, dim=0))

    def unlike(self, counts: Integers, known: Floats) -> Booleans:
        """Tell which spectra are unlike all those that it was trained with, shape (n,)."""
        low, high = self.known_range
        margin = MARGIN * (high - low)
        told = torch.from_numpy(known).float()
        outside = ((told < low - margin) | (told > high + margin)).any(1)
        far = (self._distances(counts) > self.farthest).any(1)
        return np.asarray((outside | far).numpy())

    def _white(self, counts: Integers) -> Tensor:
        return (_stabilised(counts) - self.mean) @ self.whitening

    def _told(self, known: Floats) -> Tensor:
        return (torch.from_numpy(known).float() - self.known_mean) / self.known_scale

    def _terms(self, white: Tensor, told: Tensor) -> Tensor:
        """Return the monomials of the leading components and of what is known."""
        factors = torch.cat([torch.ones_like(white[:, :1]), white[:, : self.leading], told], dim=1)
        first, *others = _monomials(factors.shape[1] - 1).T
        terms = factors[:, first]
        for chosen in others:
            terms = terms * factors[:, chosen]
        return terms

    def _distances(self, counts: Integers) -> Tensor:
        """Return squared distances from the mean spectrum: within the components, and beyond."""
        with torch.inference_mode():
            white = (_stabilised(counts) - self.mean).double()
            inside = white @ self.whitening.double()
            scale = self.whitening.double().square().sum(0).sqrt()
            beyond = white.square().sum(1) - (inside / scale).square().sum(1)
            return torch.stack([inside.square().sum(1), beyond], dim=1)


class _Residual(nn.Module):
    """A layer that adds to its input."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(units)
        self.first, self.second = nn.Linear(units, units), nn.Linear(units, units)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, units) to (n, units)."""
        added: Tensor = x + self.second(functional.silu(self.first(self.norm(x))))
        return added


@cache
def _monomials(variables: int) -> Tensor:
    """Return the factors of all monomials up to `DEGREE`, of which 0 is one and 1 the first."""
    return torch.tensor(list(combinations_with_replacement(range(variables + 1), DEGREE)))


def _stabilised(counts: Integers) -> Tensor:
    return 2 * torch.sqrt(torch.from_numpy(counts).float() + 3 / 8)


def _logistic(logits: Floats, is_ic: Booleans) -> tuple[float, float]:
    """Return scale and offset of logits under which outcomes are the likeliest, by Newton steps."""
    columns = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(columns @ weights, -500, 500)))
        slope = columns.T @ (is_ic - p)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), slope)
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    scale, offset = weights.tolist()
    # Of no use where a network has learnt nothing, or tells all apart.
    return (scale, offset) if math.isfinite(scale + offset) and scale > 0 else (1.0, 0.0)


# --- training -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """One row of the history: cross entropies are means, of the spectra since the row before."""

    spectra: int
    train_loss: float
    validation_loss: float
    accuracy: float
    learning_rate: float


@dataclass
class Trained:
    """A trained network and its history."""

    network: RatioNetwork
    history: list[Progress] = field(default_factory=list)


def train(
    settings: RatioSettings,
    draw: Draw,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    interval: float = CHECKPOINT_INTERVAL,
) -> Trained:
    """Train a network on spectra that are drawn for it, none of them twice.

    Every batch has random numbers of its own, so a training that was interrupted goes on from its
    checkpoint with the same result.

    Parameters
    ----------
    draw : callable
        From a number and a generator to so many spectra, half of each hypothesis.
    checkpoint : path, optional
        File that holds the state while the training runs. It is left for the caller to delete.
    report : callable, optional
        Is given a line of text for each row of the history.
    interval : float
        Least time between two checkpoints, s.

    Raises
    ------
    IcflowError
        If the loss stops being finite.
    """
    trainer = _Trainer(settings, draw)
    if checkpoint is not None and checkpoint.is_file():
        report(trainer.resume(checkpoint))
    trainer.run(checkpoint, report, interval)
    return trainer.result


class _Trainer:
    """State of a training between two batches."""

    def __init__(self, settings: RatioSettings, draw: Draw) -> None:
        self.settings, self.draw = settings, draw
        first = self._drawn("whitening", PREPARED)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(settings.seed, "ratio", settings.name, "weights"))
            network = RatioNetwork(
                first.counts.shape[1], first.known.shape[1], settings.units, settings.layers
            )
        network.adapt(first)
        self.validation = self._drawn("validation", VALIDATED)
        self.result, self.step, self.summed = Trained(network), 0, 0.0
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=DECAY, fused=True
        )
        self.steps = max(1, settings.spectra // settings.batch)
        self.every = max(1, self.steps // RECORDS)

    def _drawn(self, purpose: str, number: int) -> Spectra:
        name = f"ratio/{self.settings.name}/{purpose}"
        return self.draw(number, seeds.generator(self.settings.seed, name))

    def run(self, checkpoint: Path | None, report: Callable[[str], None], interval: float) -> None:
        """Take the steps that are left, and calibrate what has been learnt."""
        written = time.monotonic()
        while self.step < self.steps:
            self._take_step()
            if self.step % self.every == 0 or self.step == self.steps:
                self._record()
                report(self._line())
            due = checkpoint is not None and time.monotonic() - written >= interval
            if due and self.step < self.steps:
                assert checkpoint is not None
                self._save(checkpoint)
                written = time.monotonic()
        self.result.network.calibrate(self._drawn("calibration", PREPARED))

    def _take_step(self) -> None:
        settings, network = self.settings, self.result.network
        rate = fast_rate(self.step, self.steps, settings.learning_rate)
        self.optimizer.param_groups[0]["lr"] = rate
        spectra = self._drawn(f"step {self.step}", settings.batch)
        logits = network(spectra.counts, spectra.known)
        loss = functional.binary_cross_entropy_with_logits(logits, _targets(spectra))
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.summed += float(loss.detach())
        self.step += 1
        if not math.isfinite(self.summed):
            raise IcflowError(
                f"ratios.{settings.name}: the loss is not finite after {self.step} batches; lower "
                f"ratios.{settings.name}.learning_rate"
            )

    def _record(self) -> None:
        history, settings = self.result.history, self.settings
        before = history[-1].spectra // settings.batch if history else 0
        with torch.inference_mode():
            logits = self.result.network(self.validation.counts, self.validation.known)
            targets = _targets(self.validation)
            loss = functional.binary_cross_entropy_with_logits(logits, targets)
            right = ((logits > 0) == (targets > 0.5)).double().mean()
        history.append(
            Progress(
                self.step * settings.batch,
                self.summed / (self.step - before),
                float(loss),
                float(right),
                float(self.optimizer.param_groups[0]["lr"]),
            )
        )
        self.summed = 0.0

    def _line(self) -> str:
        row = self.result.history[-1]
        return (
            f"{row.spectra} of {self.steps * self.settings.batch} spectra: cross entropy "
            f"{row.train_loss:.4f}, of fresh spectra {row.validation_loss:.4f}, of which "
            f"{row.accuracy:.4f} are told right"
        )

    # --- checkpoints ---------------------------------------------------------------

    @property
    def _identity(self) -> dict[str, str]:
        drawn = hashlib.sha256(self.validation.counts.tobytes()).hexdigest()
        settings = self.settings.json_text()
        return {"settings": settings, "spectra": drawn, "torch": str(torch.__version__)}

    def _save(self, path: Path) -> None:
        state = {
            "identity": self._identity,
            "network": self.result.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "summed": self.summed,
            "history": [asdict(row) for row in self.result.history],
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> str:
        """Take up the state of an interrupted training; return what was done, as a sentence."""
        state, reason = read_checkpoint(path, self._identity)
        if state is None:
            return reason
        self.result.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.summed = state["step"], state["summed"]
        self.result.history = [Progress(**row) for row in state["history"]]
        return f"{path}: training goes on after {self.step * self.settings.batch} spectra"


def _targets(spectra: Spectra) -> Tensor:
    return torch.from_numpy(spectra.is_ic).float()
