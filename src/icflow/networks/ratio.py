"""A network that estimates the likelihood ratio of two hypotheses from rough fits of both.

Who tells spectra of two populations apart as well as can be knows the ratio of their likelihoods,
averaged over all that varies in them: a classifier's logit is ln of that ratio, if both are equally
frequent. So the network learns to tell apart simulated spectra, and what is wrong with calibration
and background is averaged over by drawing it.

A million counts hold models to a part in a thousand, which no network sees in them. A fit does, so
the network is given the nearest spectrum of each hypothesis, the ratio of likelihoods averaged by
few points about it, and what the fits leave over; what it learns is how far that ratio is off.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
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
from icflow.typing import Booleans, Floats

COMPONENTS = 20  # principal components of the residuals that the network sees
PREPARED = 2000  # spectra that scales are taken from
VALIDATED = 5000  # spectra of the loss in the history
CALIBRATED = 10_000  # spectra that calibration and limits are taken from
PIECE, EPOCHS = 1000, 8  # spectra that are drawn together; how often each is seen
LARGEST_GRADIENT = 1.0
DECAY = 1e-2  # of the weights
# Beyond this ln of a ratio the rough one enters by its logarithm, residuals by theirs beyond so
# many sigmas.
FAR, MANY = 10.0, 2.0
# Spectra that fit worse than all but this fraction of those that are drawn are unlike them.
UNLIKE = 1e-3
# Standard errors by which what is learnt must tell more than the fits alone: of two that tell as
# much, the simpler one (the one-standard-error rule of Breiman et al. 1984).
CERTAIN = 1.0
# How far known parameters may lie outside of those drawn, as a fraction of their range.
MARGIN = 0.02
NEWTON_STEPS, MOST_HALVINGS = 50, 20


class RatioInputs(NamedTuple):
    """What is known of spectra.

    Attributes
    ----------
    rough : ndarray, shape (n,)
        ln of the likelihood ratio as it follows from the fits.
    misfit : ndarray, shape (n,)
        How badly the better of both hypotheses fits.
    fits : ndarray, shape (n, n_fits)
        What the fits return.
    residuals : ndarray, shape (n, n_residuals)
        What they leave over, in sigmas.
    known : ndarray, shape (n, n_known)
        Parameters that are known.
    """

    rough: Floats
    misfit: Floats
    fits: Floats
    residuals: Floats
    known: Floats


class DrawnSpectra(NamedTuple):
    """Spectra of both hypotheses, and which are of that with IC (n,)."""

    inputs: RatioInputs
    is_ic: Booleans


# Draws so many spectra, half of each hypothesis.
Draw = Callable[[int, np.random.Generator], DrawnSpectra]


class Sizes(NamedTuple):
    """Numbers of columns of the inputs."""

    fits: int
    residuals: int
    known: int

    @classmethod
    def of(cls, inputs: RatioInputs) -> Sizes:
        """Return those of some inputs."""
        return cls(inputs.fits.shape[1], inputs.residuals.shape[1], inputs.known.shape[1])


class RatioNetwork(nn.Module):
    """From what is known of a spectrum to ln of the likelihood ratio.

    Principal components of the residuals, what the fits return and what is known go through
    residual layers to one number, which is added to the rough ratio.

    Parameters
    ----------
    sizes : Sizes
    units, layers : int
        Width of the residual layers, and how many there are.
    """

    def __init__(self, sizes: Sizes, units: int, layers: int) -> None:
        super().__init__()
        components = min(COMPONENTS, sizes.residuals)
        columns = 1 + sizes.fits + sizes.known + components
        self.inputs = nn.Linear(columns, units)
        self.layers = nn.ModuleList([_Residual(units) for _ in range(layers)])
        self.output = nn.Sequential(nn.LayerNorm(units), nn.Linear(units, 1))
        last = self.output[1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        buffers = {
            "basis": torch.zeros(sizes.residuals, components),
            "middle": torch.zeros(columns),
            "scale": torch.ones(columns),
            # Lowest and highest value of what is known; the misfit that few spectra exceed.
            "known_range": torch.zeros(2, sizes.known),
            "farthest": torch.zeros(()),
            # Scale and offset of the rough ratio, and of the result.
            "trust": torch.tensor([1.0, 0.0]),
            "calibration": torch.tensor([1.0, 0.0]),
        }
        for name, values in buffers.items():
            self.register_buffer(name, values)
        self.basis: Tensor
        self.middle: Tensor
        self.scale: Tensor
        self.known_range: Tensor
        self.farthest: Tensor
        self.trust: Tensor
        self.calibration: Tensor

    def adapt(self, spectra: DrawnSpectra) -> None:
        """Find the principal components, the scale of every column and how far fits are right."""
        inputs = spectra.inputs
        left = torch.asinh(_tensor(inputs.residuals) / MANY).double()
        _, vectors = torch.linalg.eigh(left.T @ left / len(left))
        self.basis.copy_(vectors.flip(1)[:, : self.basis.shape[1]])
        columns = self.columns(inputs).double()
        low, middle, high = torch.quantile(columns, columns.new_tensor([0.16, 0.5, 0.84]), dim=0)
        self.middle.copy_(middle)
        # A column that is the same for most, like slopes off the limits, in its own unit.
        half = (high - low) / 2
        self.scale.copy_(torch.where(half > 1e-6, half, torch.ones_like(half)))
        if inputs.known.shape[1]:
            known = _tensor(inputs.known)
            self.known_range.copy_(torch.stack([known.min(0).values, known.max(0).values]))
        rough = _bounded(torch.from_numpy(inputs.rough)).numpy()
        self.trust.copy_(torch.tensor(_logistic(rough, spectra.is_ic)))

    def forward(self, columns: Tensor) -> Tensor:
        """Return ln of the likelihood ratio (n,), before its calibration, of `columns`."""
        features = self.inputs(torch.asinh((columns - self.middle) / self.scale))
        for layer in self.layers:
            features = layer(features)
        scale, offset = self.trust
        trusted = scale * _bounded(columns[:, 0]) + offset
        logits: Tensor = trusted + self.output(features)[:, 0]
        return logits

    def log_odds(self, inputs: RatioInputs) -> Floats:
        """Return ln of the likelihood ratio (n,), calibrated."""
        with torch.inference_mode():
            scale, offset = self.calibration.double()
            return np.asarray((scale * self(self.columns(inputs)).double() + offset).numpy())

    def calibrate(self, spectra: DrawnSpectra) -> None:
        """Make the logits those of the frequencies among fresh spectra, and find its limits."""
        with torch.inference_mode():
            logits = self(self.columns(spectra.inputs)).double().numpy()
        self.calibration.copy_(torch.tensor(_logistic(logits, spectra.is_ic)))
        self.farthest.copy_(torch.tensor(np.quantile(spectra.inputs.misfit, 1 - UNLIKE)))

    def unlike(self, inputs: RatioInputs) -> Booleans:
        """Tell which spectra are unlike all those that it was trained with, shape (n,)."""
        low, high = self.known_range.numpy()
        margin = MARGIN * (high - low)
        outside = ((inputs.known < low - margin) | (inputs.known > high + margin)).any(axis=1)
        return np.asarray(outside | (inputs.misfit > float(self.farthest)))

    def columns(self, inputs: RatioInputs) -> Tensor:
        """Return what the layers read, (n, n_columns): the rough ratio first."""
        left = torch.asinh(_tensor(inputs.residuals) / MANY) @ self.basis
        columns = (inputs.rough[:, None], inputs.fits, inputs.known)
        return torch.cat([*(_tensor(column) for column in columns), left], dim=1)


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


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(values).float()


def _bounded(rough: Tensor) -> Tensor:
    """Return rough ratios, those far from 1 by their logarithms."""
    return FAR * torch.asinh(rough / FAR)


def _logistic(logits: Floats, is_ic: Booleans) -> tuple[float, float]:
    """Return scale and offset of logits under which outcomes are the likeliest.

    By Newton steps from 0, halved where a whole one leads up.
    """
    columns = np.stack([logits, np.ones_like(logits)], axis=1)

    def loss(weights: Floats) -> float:
        z = columns @ weights
        return float(np.mean(np.logaddexp(0.0, z) - is_ic * z))

    weights = np.zeros(2)
    lowest = loss(weights)
    for _ in range(NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(columns @ weights, -500, 500)))
        slope = columns.T @ (is_ic - p)
        curvature = (columns * (p * (1 - p))[:, None]).T @ columns
        step = np.linalg.solve(curvature + 1e-9 * np.eye(2), slope)
        tried = (0.5**halvings for halvings in range(MOST_HALVINGS))
        part = next((part for part in tried if loss(weights + part * step) < lowest), 0.0)
        weights = weights + part * step
        before, lowest = lowest, loss(weights)
        if not before - lowest > 1e-12:
            break
    scale, offset = weights.tolist()
    # Of no use where a network has learnt nothing, or tells all apart.
    return (scale, offset) if math.isfinite(scale + offset) and scale > 0 else (1.0, 0.0)


# --- training -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """One row of the history, for each time that all spectra were seen; cross entropies."""

    epoch: int
    train_loss: float
    validation_loss: float
    accuracy: float
    learning_rate: float


@dataclass
class TrainedRatio:
    """A trained network and its history."""

    network: RatioNetwork
    history: list[Progress] = field(default_factory=list)


def train(
    settings: RatioSettings,
    draw: Draw,
    checkpoint: Path | None = None,
    report: Callable[[str], None] = lambda _: None,
    interval: float = CHECKPOINT_INTERVAL,
) -> TrainedRatio:
    """Train a network on spectra that are drawn for it.

    The weights kept are those of the epoch that told fresh spectra apart best. Spectra by which no
    epoch was chosen calibrate them; where these do not show, beyond chance, that they tell more
    than the fits, none are kept. Every piece of spectra, and every order in which they are seen,
    has random numbers of its own, so a training that was interrupted goes on from its checkpoint
    with the same result.

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
    """State of a training between two batches, or two pieces that are drawn."""

    def __init__(self, settings: RatioSettings, draw: Draw) -> None:
        self.settings, self.draw = settings, draw
        first = self._drawn("scales", PREPARED)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seeds.number(settings.seed, "ratio", settings.name, "weights"))
            network = RatioNetwork(Sizes.of(first.inputs), settings.units, settings.layers)
        network.adapt(first)
        self.result, self.step, self.summed = TrainedRatio(network), 0, 0.0
        self.validation = self._seen("validation", VALIDATED)
        # What told fresh spectra apart best so far, and its loss: the fits alone, at first.
        self.fits_alone = self.best = self._state()
        self.lowest = self._loss()[0]
        self.optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=DECAY, fused=True
        )
        # What was drawn, as the network reads it: columns and targets of each piece.
        self.pieces: list[tuple[Tensor, Tensor]] = []
        self.each = max(1, settings.spectra // settings.batch)
        self._ordered = -1, torch.empty(0)

    def _drawn(self, purpose: str, number: int) -> DrawnSpectra:
        name = f"ratio/{self.settings.name}/{purpose}"
        return self.draw(number, seeds.generator(self.settings.seed, name))

    def _seen(self, purpose: str, number: int) -> tuple[Tensor, Tensor]:
        spectra = self._drawn(purpose, number)
        columns = self.result.network.columns(spectra.inputs)
        return columns, torch.from_numpy(spectra.is_ic).float()

    def run(self, checkpoint: Path | None, report: Callable[[str], None], interval: float) -> None:
        """Draw what is left to be drawn, take the steps that are left, and calibrate."""
        saved = _Clock(interval, partial(self._save, checkpoint) if checkpoint else None)
        wanted = -(-self.settings.spectra // PIECE)
        while len(self.pieces) < wanted:
            self.pieces.append(self._seen(f"piece {len(self.pieces)}", PIECE))
            if len(self.pieces) % (-(-wanted // 10)) == 0:
                report(f"{len(self.pieces) * PIECE} of {wanted * PIECE} spectra are drawn")
            saved.tick()
        columns, targets = (torch.cat(part) for part in zip(*self.pieces, strict=True))
        while self.step < EPOCHS * self.each:
            chosen = self._order(self.step // self.each, len(targets))[self.step % self.each]
            self._take_step(columns[chosen], targets[chosen])
            if self.step % self.each == 0:
                self._record()
                report(self._line())
            saved.tick()
        self._conclude(self._drawn("calibration", CALIBRATED), report)

    def _conclude(self, spectra: DrawnSpectra, report: Callable[[str], None]) -> None:
        """Keep what was learnt, if that tells more than the fits, and calibrate it."""
        network, losses = self.result.network, []
        for state in (self.fits_alone, self.best):
            network.load_state_dict(state)
            network.calibrate(spectra)
            odds = network.log_odds(spectra.inputs)
            losses.append(np.logaddexp(0.0, odds) - spectra.is_ic * odds)
        gain = losses[0] - losses[1]
        chance = float(gain.std(ddof=1)) / math.sqrt(len(gain))
        kept = gain.mean() > CERTAIN * chance
        report(
            f"what was learnt lowers the cross entropy of {len(gain)} spectra by "
            f"{gain.mean():.4f} ± {chance:.4f}"
            + ("" if kept else ": the ratio is that of the fits, calibrated")
        )
        if not kept:
            network.load_state_dict(self.fits_alone)
            network.calibrate(spectra)

    def _state(self) -> dict[str, Tensor]:
        """Return a copy of what the network has learnt."""
        state = self.result.network.state_dict()
        return {name: tensor.clone() for name, tensor in state.items()}

    def _loss(self) -> tuple[float, float]:
        """Return cross entropy and accuracy of fresh spectra."""
        columns, targets = self.validation
        with torch.inference_mode():
            logits = self.result.network(columns)
            loss = functional.binary_cross_entropy_with_logits(logits, targets)
            return float(loss), float(((logits > 0) == (targets > 0.5)).double().mean())

    def _order(self, epoch: int, number: int) -> Tensor:
        """Return which spectra the batches of an epoch hold, (n_batches, batch)."""
        if self._ordered[0] != epoch:
            name = f"ratio/{self.settings.name}/epoch {epoch}"
            order = seeds.generator(self.settings.seed, name).permutation(number)
            batches = order[: self.each * self.settings.batch].reshape(self.each, -1)
            self._ordered = epoch, torch.from_numpy(batches)
        return self._ordered[1]

    def _take_step(self, columns: Tensor, targets: Tensor) -> None:
        settings, network = self.settings, self.result.network
        rate = fast_rate(self.step, EPOCHS * self.each, settings.learning_rate)
        self.optimizer.param_groups[0]["lr"] = rate
        loss = functional.binary_cross_entropy_with_logits(network(columns), targets)
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
        history, (loss, right) = self.result.history, self._loss()
        if loss < self.lowest:
            self.best, self.lowest = self._state(), loss
        rate = float(self.optimizer.param_groups[0]["lr"])
        mean = self.summed / self.each
        history.append(Progress(len(history) + 1, mean, loss, right, rate))
        self.summed = 0.0

    def _line(self) -> str:
        row = self.result.history[-1]
        return (
            f"epoch {row.epoch} of {EPOCHS}: cross entropy {row.train_loss:.4f}, of fresh spectra "
            f"{row.validation_loss:.4f}, of which {row.accuracy:.4f} are told right"
        )

    # --- checkpoints ---------------------------------------------------------------

    @property
    def _identity(self) -> dict[str, str]:
        drawn = hashlib.sha256(self.validation[0].numpy().tobytes()).hexdigest()
        settings = self.settings.json_text()
        return {"settings": settings, "spectra": drawn, "torch": str(torch.__version__)}

    def _save(self, path: Path) -> None:
        state = {
            "identity": self._identity,
            "network": self.result.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "lowest": self.lowest,
            "pieces": self.pieces,
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
        self.best, self.lowest = state["best"], state["lowest"]
        self.pieces, self.step, self.summed = state["pieces"], state["step"], state["summed"]
        self.result.history = [Progress(**row) for row in state["history"]]
        return f"{path}: training goes on after {len(self.pieces) * PIECE} spectra were drawn"


class _Clock:
    """Calls something at intervals."""

    def __init__(self, interval: float, call: Callable[[], None] | None) -> None:
        self.interval, self.call, self.last = interval, call, time.monotonic()

    def tick(self) -> None:
        """Call it, if it is time."""
        if self.call is not None and time.monotonic() - self.last >= self.interval:
            self.call()
            self.last = time.monotonic()
