"""Time of a training step, against the straightforward way to write it.

    python benchmarks/training.py [--batch 150] [--steps 5] [--threads 1]

The straightforward way: the same network from plain layers (Conv1d,
ConvTranspose1d, BatchNorm1d), one file per spectrum, torch's DataLoader and
Adam as they come. Both train the paper's network on random spectra. CPU
seconds, user and system together, so that other work on the machine matters
little.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from icflow import config as configuration
from icflow.autoencoder import training
from icflow.autoencoder.training import Sample
from icflow.config import Config

CONFIG = Path(__file__).parents[1] / "config.yaml"
LENGTH = 2960
ROUNDS = 4  # the first one warms up


def main() -> None:
    parser = argparse.ArgumentParser(description="time of a training step")
    parser.add_argument("--batch", type=int, default=150)
    parser.add_argument("--steps", type=int, default=5, help="steps in each of three rounds")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    print(f"{processor()}, torch {torch.__version__}, threads: {args.threads}")
    torch.set_num_threads(args.threads)
    random = np.random.default_rng(1)
    rates = random.random((args.batch * args.steps, LENGTH), np.float32)
    labels = random.random((len(rates), 4), np.float32)
    # The straightforward way first: the other one changes how this process keeps memory.
    found = {
        "straightforward": measure(lambda mark: plain(rates, labels, args.batch, mark), args.steps),
        "icflow": measure(lambda mark: ours(rates, labels, args, mark), args.steps),
    }
    for name, (cpu, wall) in found.items():
        print(f"{name:16} {cpu:6.3f} CPU s  {wall:6.3f} s  per step of {args.batch} spectra")
    ratio = [found["straightforward"][i] / found["icflow"][i] for i in (0, 1)]
    print(f"{'ratio':16} {ratio[0]:6.2f}        {ratio[1]:6.2f}")


def measure(run: Callable[[Callable[[], None]], None], steps: int) -> tuple[float, float]:
    """Return CPU and wall time per step, the least of the rounds after the first."""
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        marks.append((used.ru_utime + used.ru_stime, time.perf_counter()))

    run(mark)
    spans = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(marks)]
    return min(span[0] for span in spans) / steps, min(span[1] for span in spans) / steps


def ours(
    rates: np.ndarray, labels: np.ndarray, args: argparse.Namespace, mark: Callable[[], None]
) -> None:
    training.prepare(args.threads)
    base = configuration.load(CONFIG).model_dump(mode="json", exclude_none=True)
    change = {"epochs": ROUNDS, "batch": args.batch, "device": "cpu"}
    config: Config = configuration.validate(
        configuration.overlay(base, {"autoencoder": {"training": change}}), str(CONFIG)
    )
    # A selection of two spectra takes next to no time.
    training.train(
        config.train("cae", 0),
        Sample(rates, labels),
        Sample(rates[:2], labels[:2]),
        report=lambda _: mark(),
    )


# --- the straightforward way ------------------------------------------------------


def plain(rates: np.ndarray, labels: np.ndarray, batch: int, mark: Callable[[], None]) -> None:
    network = PlainNetwork()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    with tempfile.TemporaryDirectory() as folder:
        loader = DataLoader(Files(Path(folder), rates, labels), batch_size=batch, shuffle=True)
        for _ in range(ROUNDS):
            for spectra, wanted in loader:
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
            nn.Linear(50, 4),
        )  # fmt: skip
        self.expand = nn.Sequential(
            nn.Linear(4, 185 * 128), nn.GELU(), nn.Unflatten(1, (128, 185))
        )  # fmt: skip
        self.up = nn.Sequential(
            *[
                nn.Sequential(
                    nn.ConvTranspose1d(b, a, 3, 2, 1, output_padding=1), nn.BatchNorm1d(a),
                    nn.GELU(), nn.ConvTranspose1d(a, a, 3, 1, 1), nn.BatchNorm1d(a), nn.GELU(),
                )
                for a, b in reversed(pairs)
            ]
        )  # fmt: skip
        self.output = nn.ConvTranspose1d(4, 1, 1)

    def forward(self, spectra: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.dense(self.down(self.stem(spectra[:, None])))
        return self.output(self.up(self.expand(latents)))[:, 0], latents


class PlainDown(nn.Module):
    """A residual stage."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(a, b, 3, 2, 1), nn.BatchNorm1d(b), nn.GELU(),
            nn.Conv1d(b, b, 3, 1, 1), nn.BatchNorm1d(b),
        )  # fmt: skip
        self.skip = nn.Sequential(nn.Conv1d(a, b, 1, 2), nn.BatchNorm1d(b))

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.body(x) + self.skip(x))


def processor() -> str:
    """Return the name of the CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
