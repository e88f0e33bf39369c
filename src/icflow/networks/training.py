"""Training of one network in one fold: deterministic, resumable.

The data lie in memory (or on the device) as one tensor, so a step costs the
network's arithmetic and little else. The same settings and data give the same
weights, byte for byte, on one kind of CPU with one number of threads: sums are
split between threads, so another number changes the last digits.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from icflow import seeds
from icflow.errors import IcflowError
from icflow.files import atomic_path
from icflow.networks.checkpoints import read_checkpoint
from icflow.networks.devices import choose_device
from icflow.networks.network import create
from icflow.settings import TrainSettings
from icflow.typing import Singles

CHECKPOINT_INTERVAL = 15.0  # s between checkpoints; one takes about 0.2 s to write
PLATEAU_FACTOR = 0.1  # by which the recipe `paper` lowers the learning rate
WARM_UP = 0.1  # fraction of the steps in which the recipe `fast` raises the learning rate

Report = Callable[[str], None]


class Examples(NamedTuple):
    """Spectra (n, n_input) in counts/s/keV and their labels (n, n_labels) in [0, 1]."""

    rates: Singles
    labels: Singles


class Losses(NamedTuple):
    """Loss and its parts: loss = misfit + weight * distance."""

    total: float
    misfit: float
    distance: float


@dataclass(frozen=True)
class Epoch:
    """One row of the training history; losses of training are means over its batches."""

    epoch: int
    train_loss: float
    train_misfit: float
    train_constraint: float
    selection_loss: float
    selection_misfit: float
    selection_constraint: float
    learning_rate: float


@dataclass
class Trained:
    """A trained network.

    Attributes
    ----------
    state : dict of Tensor
        Parameters and running statistics of the best epoch, on the CPU.
    best_epoch : int
        Epoch with the lowest selection loss, from 0.
    history : list of Epoch
    diverged : int or None
        Epoch in which the loss stopped being finite; training ended there.
    """

    state: dict[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1
    history: list[Epoch] = field(default_factory=list)
    diverged: int | None = None

    @property
    def selection_loss(self) -> float:
        """Selection loss of the best epoch."""
        return self.history[self.best_epoch].selection_loss if self.history else math.inf


def distance(latents: Tensor, labels: Tensor) -> Tensor:
    """Return the distance of latents and labels, (1/N) Σ |u − θ|₁ over the N spectra.

    Where there are more latents than labels, the first ones are held to the labels.
    """
    return (latents[:, : labels.shape[1]] - labels).abs().sum() / len(labels)


def fast_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of the recipe `fast` in a step.

    It rises linearly to `peak` in the first tenth of all steps and falls to zero
    along half a cosine.
    """
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def train(
    settings: TrainSettings,
    sample: Examples,
    selection: Examples,
    checkpoint: Path | None = None,
    report: Report = lambda _: None,
    interval: float = CHECKPOINT_INTERVAL,
    counts_per_rate: Singles | None = None,
) -> Trained:
    """Train one network and return the weights of its best epoch.

    Parameters
    ----------
    settings : TrainSettings
    sample : Examples
        Spectra to learn from.
    selection : Examples
        Spectra whose loss chooses the epoch.
    checkpoint : path, optional
        File that holds the state of the training while it runs. If it is there and
        belongs to the same training, that is continued, with the same result as if
        it had not been interrupted. It is left for the caller to delete.
    report : callable, optional
        Is given a line of text for each epoch.
    interval : float
        Least time between two checkpoints, s.
    counts_per_rate : (n_input,) float32, optional
        Counts of a spectrum with a rate of one, s keV, for networks that read counts; 1 by
        default.

    Raises
    ------
    IcflowError
        If a batch is larger than the sample, there are fewer latents than labels,
        the loss is not finite in the first epoch, or the GPU's memory is too small.
    """
    _check_sizes(settings, sample)
    device = choose_device(settings.training.device)
    try:
        trainer = _Trainer(settings, sample, selection, counts_per_rate, device)
        if checkpoint is not None and checkpoint.is_file():
            report(trainer.resume(checkpoint))
        trainer.run(checkpoint, report, interval)
    except torch.OutOfMemoryError:
        raise IcflowError(
            f"network {settings.network}, fold {settings.fold}: no GPU memory left; lower "
            "autoencoder.training.batch or set autoencoder.training.device to cpu"
        ) from None
    return trainer.result


def _check_sizes(settings: TrainSettings, sample: Examples) -> None:
    batch, latents = settings.training.batch, settings.architecture.latents
    if batch > len(sample.rates):
        raise IcflowError(
            f"autoencoder.training.batch is {batch}, but only {len(sample.rates)} spectra train in "
            "a fold; lower it or use more spectra"
        )
    if latents < sample.labels.shape[1]:
        raise IcflowError(
            f"autoencoder.architecture.latents is {latents}, fewer than the "
            f"{sample.labels.shape[1]} labels; give at least as many"
        )


class _Trainer:
    """State of a training between two epochs."""

    def __init__(
        self,
        settings: TrainSettings,
        sample: Examples,
        selection: Examples,
        counts_per_rate: Singles | None,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.sample = [torch.from_numpy(array).to(device) for array in sample]
        self.selection = [torch.from_numpy(array).to(device) for array in selection]
        self.identity = _identity(settings, sample, selection)
        with torch.random.fork_rng():
            torch.manual_seed(self._seed("weights"))
            self.network = create(settings, sample.rates.shape[1])
        if counts_per_rate is None:
            counts_per_rate = np.ones(sample.rates.shape[1], np.float32)
        self.network.adapt(torch.from_numpy(sample.rates), torch.from_numpy(counts_per_rate))
        self.network.to(device)
        rate = settings.training.learning_rate
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=rate, fused=True)
        self.plateau = (
            ReduceLROnPlateau(
                self.optimizer, factor=PLATEAU_FACTOR, patience=settings.training.patience
            )
            if settings.training.recipe == "paper"
            else None
        )
        self.result = Trained()

    def _seed(self, *keys: str | int) -> int:
        settings = self.settings
        return seeds.number(settings.seed, "train", settings.network, settings.fold, *keys)

    def run(self, checkpoint: Path | None, report: Report, interval: float) -> None:
        """Train the epochs that are left."""
        result, epochs = self.result, self.settings.training.epochs
        written = time.monotonic()
        for epoch in range(len(result.history), epochs):
            started = time.monotonic()
            train = self._train_epoch(epoch)
            selection = self._evaluate()
            if not (math.isfinite(train.total) and math.isfinite(selection.total)):
                self._stop(epoch, report)
                return
            self._record(epoch, train, selection)
            report(_line(result.history[-1], epochs, time.monotonic() - started))
            last = epoch + 1 == epochs
            if checkpoint is not None and not last and time.monotonic() - written >= interval:
                self._save(checkpoint)
                written = time.monotonic()

    def _train_epoch(self, epoch: int) -> Losses:
        weight = self.settings.constraint
        rates, labels = self.sample
        sums = torch.zeros(3, dtype=torch.float64, device=rates.device)
        steps = 0
        for batch in self._batches(epoch):
            self._set_rate(epoch, steps)
            spectra = rates[batch]
            reconstruction, latents = self._forward(spectra)
            misfit = self.network.misfit(reconstruction, spectra)
            away = distance(latents, labels[batch])
            loss = misfit + weight * away
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            sums += torch.stack([loss, misfit, away]).detach()
            steps += 1
        return Losses(*(sums / steps).tolist())

    def _forward(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        """Return reconstructions and latents, in the precision of the settings on the way."""
        settings = self.settings
        # A dense network tells thousandths of a rate apart, which bfloat16 does not hold.
        mixed = settings.training.precision == "bfloat16" and settings.kind == "published"
        with torch.autocast(spectra.device.type, torch.bfloat16, enabled=mixed):
            reconstruction, latents = self.network(spectra)
        return reconstruction.float(), latents.float()

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        """Give the spectra in a new order each epoch; what is left over waits for another."""
        rates, size = self.sample[0], self.settings.training.batch
        generator = torch.Generator().manual_seed(self._seed("epoch", epoch))
        order = torch.randperm(len(rates), generator=generator).to(rates.device)
        for number in range(len(rates) // size):
            yield order[number * size : (number + 1) * size]

    def _set_rate(self, epoch: int, step: int) -> None:
        if self.plateau is None:
            training = self.settings.training
            steps = len(self.sample[0]) // training.batch
            rate = fast_rate(epoch * steps + step, training.epochs * steps, training.learning_rate)
            self.optimizer.param_groups[0]["lr"] = rate

    def _evaluate(self) -> Losses:
        """Return the losses of the selection spectra with the running statistics."""
        rates, labels = self.selection
        misfit = away = 0.0
        self.network.eval()
        size = self.settings.training.batch
        with torch.inference_mode():
            for spectra, wanted in zip(rates.split(size), labels.split(size), strict=True):
                reconstruction, latents = self.network(spectra)
                share = len(spectra) / len(rates)
                misfit += float(self.network.misfit(reconstruction, spectra)) * share
                away += float(distance(latents, wanted)) * share
        self.network.train()
        return Losses(misfit + self.settings.constraint * away, misfit, away)

    def _record(self, epoch: int, train: Losses, selection: Losses) -> None:
        result = self.result
        rate = float(self.optimizer.param_groups[0]["lr"])
        if selection.total < result.selection_loss:
            result.best_epoch = epoch
            result.state = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in self.network.state_dict().items()
            }
        result.history.append(Epoch(epoch, *train, *selection, rate))
        if self.plateau is not None:
            self.plateau.step(selection.total)

    def _stop(self, epoch: int, report: Report) -> None:
        result = self.result
        problem = (
            f"network {self.settings.network}, fold {self.settings.fold}: the loss is not finite "
            f"in epoch {epoch + 1}; lower autoencoder.training.learning_rate"
        )
        if not result.history:
            raise IcflowError(problem)
        result.diverged = epoch
        report(f"{problem} (training ends, the weights of epoch {result.best_epoch + 1} are kept)")

    # --- checkpoints ---------------------------------------------------------------

    def _save(self, path: Path) -> None:
        state = {
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau is not None else None,
            "best": self.result.state,
            "best_epoch": self.result.best_epoch,
            "history": [asdict(epoch) for epoch in self.result.history],
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path) -> str:
        """Take up the state of an interrupted training; return what was done, as a sentence."""
        state, reason = read_checkpoint(path, self.identity)
        if state is None:
            return reason
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.plateau is not None:
            self.plateau.load_state_dict(state["plateau"])
        history = [Epoch(**epoch) for epoch in state["history"]]
        self.result = Trained(state["best"], state["best_epoch"], history)
        return f"{path}: training goes on after epoch {len(history)}"


def _identity(settings: TrainSettings, *samples: Examples) -> dict[str, Any]:
    """Return everything that determines the course of a training."""
    digest = hashlib.sha256()
    for array in (array for sample in samples for array in sample):
        digest.update(repr(array.shape).encode() + array.tobytes())
    return {
        "settings": settings.model_dump(mode="json"),
        "data": digest.hexdigest(),
        "torch": str(torch.__version__),
    }


def _line(epoch: Epoch, epochs: int, seconds: float) -> str:
    return (
        f"epoch {epoch.epoch + 1}/{epochs}: loss {epoch.train_loss:.4g} "
        f"(misfit {epoch.train_misfit:.4g}, constraint {epoch.train_constraint:.4g}), "
        f"selection {epoch.selection_loss:.4g} "
        f"(misfit {epoch.selection_misfit:.4g}, constraint {epoch.selection_constraint:.4g}), "
        f"learning rate {epoch.learning_rate:.2g}, {seconds:.1f} s"
    )
