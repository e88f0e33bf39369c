"""Time of a training step, against the straightforward way to write it.

    python benchmarks/training.py [--batch 150] [--steps 5] [--threads 1]

The straightforward way: the same network from plain layers (Conv1d,
ConvTranspose1d, BatchNorm1d), one file per spectrum, torch's DataLoader and
Adam as they come. Both train the paper's network on random spectra. CPU
seconds, user and system together, so that other work on the machine matters
little. Where torch finds a GPU, both train there too, an epoch of 8,000 spectra
in each round; seconds on the clock count there, because the CPU only waits. The
last lines of a device are what the paper's training takes at that pace: ten
folds of 300 epochs of 8,000 spectra, one fold after the other. At the end stands what the
operations of a step would take on the CPU at the rate of a product of matrices.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import resource
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode

from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config
from icflow.networks import devices, training
from icflow.networks.training import Examples

CONFIG = Path(__file__).parents[1] / "config.yaml"
LENGTH = 2960
ROUNDS = 4  # the first one warms up
EPOCH, EPOCHS, FOLDS = 8000, 300, 10  # spectra that train, epochs and folds of the paper

Timing = tuple[float, float]  # CPU and wall time of a step, s


def main() -> None:
    parser = argparse.ArgumentParser(description="time of a training step")
    parser.add_argument("--batch", type=int, default=150)
    parser.add_argument(
        "--steps", type=int, default=5, help="steps on the CPU in each of three rounds"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    steps = {"cpu": args.steps}
    if torch.cuda.is_available():
        steps["cuda"] = EPOCH // args.batch
    # The straightforward way first, on every device: the other one changes how this process keeps
    # memory, and makes torch deterministic.
    found = {
        name: {device: run(device, number, args) for device, number in steps.items()}
        for name, run in (("straightforward", time_plain), ("icflow", time_ours))
    }
    for device in steps:
        where = torch.cuda.get_device_name() if device == "cuda" else processor()
        print(f"{device}: {where}, torch {torch.__version__}, threads: {args.threads}")
        print_table({name: timings[device] for name, timings in found.items()}, args.batch)
    least, operations = limit(args.batch)
    print(f"limit: {least:.3f} CPU s per step for {operations / 1e9:.0f} billion operations")


def print_table(found: dict[str, Timing], batch: int) -> None:
    """Print the times of both ways on one device, their ratio, and what the paper's would take."""
    for name, (cpu, wall) in found.items():
        print(f"{name:16} {cpu:8.4f} CPU s  {wall:8.4f} s  per step of {batch} spectra")
    cpu, wall = (found["straightforward"][i] / found["icflow"][i] for i in (0, 1))
    print(f"{'ratio':16} {cpu:8.2f}        {wall:8.2f}")
    cpu, wall = (found["icflow"][i] * (EPOCH // batch) for i in (0, 1))
    print(f"{'icflow':16} {cpu:8.2f} CPU s  {wall:8.2f} s  per epoch of {EPOCH:,} spectra")
    cpu, wall = (FOLDS * EPOCHS * seconds / 3600 for seconds in (cpu, wall))
    print(f"{'icflow':16} {cpu:8.2f} CPU h  {wall:8.2f} h  per {FOLDS} folds of {EPOCHS} epochs")


def limit(batch: int) -> tuple[float, float]:
    """Return the CPU seconds that the operations of a step would take, and how many these are.

    Those of convolutions and dense layers, forward and backward, at the rate of a product of
    matrices; normalisation and activations are not in it.
    """
    network, spectra = PlainNetwork(), torch.zeros(batch, LENGTH)
    with FlopCounterMode(display=False) as counter:
        reconstruction, latents = network(spectra)
        (reconstruction.sum() + latents.sum()).backward()
    operations = float(counter.get_total_flops())
    n = 1024
    a, b = torch.ones(n, n), torch.ones(n, n)
    seconds = min(timeit.repeat(lambda: torch.mm(a, b), number=1, repeat=ROUNDS))
    return operations * seconds / (2 * n**3) * torch.get_num_threads(), operations


def time_plain(device: str, steps: int, args: argparse.Namespace) -> Timing:
    """Return the times of a step of the straightforward way on a device."""
    rates, labels = random_spectra(args.batch * steps)
    return measure(lambda mark: plain(rates, labels, args.batch, device, mark), steps)


def time_ours(device: str, steps: int, args: argparse.Namespace) -> Timing:
    """Return the times of a step of the package's training on a device."""
    rates, labels = random_spectra(args.batch * steps)
    return measure(lambda mark: ours(rates, labels, args, device, mark), steps)


def random_spectra(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rates and labels of some spectra."""
    random = np.random.default_rng(1)
    return random.random((size, LENGTH), np.float32), random.random((size, 4), np.float32)


def measure(run: Callable[[Callable[[], None]], None], steps: int) -> Timing:
    """Return CPU and wall time per step, the least of the rounds after the first.

    `run` calls the function that it gets at the end of each round.
    """
    marks: list[Timing] = []

    def mark() -> None:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()  # A GPU may still be at work on what it was told to do.
        used = resource.getrusage(resource.RUSAGE_SELF)
        marks.append((used.ru_utime + used.ru_stime, time.perf_counter()))

    run(mark)
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]
    return min(span[0] for span in spans) / steps, min(span[1] for span in spans) / steps


def ours(
    rates: np.ndarray,
    labels: np.ndarray,
    args: argparse.Namespace,
    device: str,
    mark: Callable[[], None],
) -> None:
    devices.prepare(args.threads)
    base = configuration.load(CONFIG).model_dump(mode="json", exclude_none=True)
    change = {"epochs": ROUNDS, "batch": args.batch, "device": device}
    config: Config = configuration.validate(
        configuration.overlay(base, {"autoencoder": {"training": change}}), str(CONFIG)
    )
    # A selection of two spectra takes next to no time.
    training.train(
        settings_of.train(config, "cae", 0),
        Examples(rates, labels),
        Examples(rates[:2], labels[:2]),
        report=lambda _: mark(),
    )


# --- the straightforward way ------------------------------------------------------


def plain(
    rates: np.ndarray, labels: np.ndarray, batch: int, device: str, mark: Callable[[], None]
) -> None:
    network = PlainNetwork().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        loader = DataLoader(Files(Path(folder), rates, labels), batch_size=batch, shuffle=True)
        for _ in range(ROUNDS):
            for from_files in loader:
                spectra, wanted = (tensor.to(device) for tensor in from_files)
                reconstruction, latents = network(spectra)
                loss = functional.mse_loss(reconstruction, spectra)
                loss = loss + 0.1 * (latents - wanted).abs().sum() / len(wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                loss.item()
            mark()


class Files(Dataset[tuple[Tensor, Tensor]]):
    """One file per spectrum."""

    def __init__(self, folder: Path, rates: np.ndarray, labels: np.ndarray) -> None:
        self.folder, self.labels = folder, labels
        for number, rate in enumerate(rates):
            np.save(folder / f"{number}.npy", rate)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        rate = np.load(self.folder / f"{number}.npy")
        return torch.from_numpy(rate), torch.from_numpy(self.labels[number])


class PlainNetwork(nn.Module):
    """The paper's network, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(1, 4, 3, 2, 1), nn.BatchNorm1d(4))
        pairs = [(4, 16), (16, 32), (32, 64), (64, 128)]
        self.down = nn.Sequential(*[PlainDown(a, b) for a, b in pairs])
        self.dense = nn.Sequential(
            nn.Flatten(), nn.Linear(93 * 128, 500), nn.GELU(), nn.Linear(500, 50), nn.GELU(),
            nn.Linear(50, 4), nn.GELU(),
        )  # fmt: skip
        self.expand = nn.Sequential(
            nn.Linear(4, 185 * 128), nn.GELU(), nn.Unflatten(1, (128, 185))
        )  # fmt: skip
        self.up = nn.Sequential(*[PlainUp(b, a) for a, b in reversed(pairs)])
        self.output = nn.ConvTranspose1d(4, 1, 1)

    def forward(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.dense(self.down(self.stem(spectra[:, None])))
        return self.output(self.up(self.expand(latents)))[:, 0], latents


class PlainDown(nn.Module):
    """A residual stage of the encoder."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(a, b, 3, 2, 1), nn.BatchNorm1d(b), nn.GELU(),
            nn.Conv1d(b, b, 3, 1, 1), nn.BatchNorm1d(b),
        )  # fmt: skip
        self.skip = nn.Sequential(nn.Conv1d(a, b, 1, 2), nn.BatchNorm1d(b))

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.body(x) + self.skip(x))


class PlainUp(nn.Module):
    """A residual stage of the decoder."""

    def __init__(self, b: int, a: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvTranspose1d(b, a, 3, 2, 1, output_padding=1), nn.BatchNorm1d(a), nn.GELU(),
            nn.ConvTranspose1d(a, a, 3, 1, 1), nn.BatchNorm1d(a),
        )  # fmt: skip
        self.skip = nn.Sequential(
            nn.ConvTranspose1d(b, a, 1, 2, output_padding=1), nn.BatchNorm1d(a)
        )
        self.again = nn.Sequential(nn.BatchNorm1d(a), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return self.again(functional.gelu(self.body(x) + self.skip(x)))


def processor() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
