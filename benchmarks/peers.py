"""Fits without background by sherpa, jaxspec and elisa, and the same ones by icflow.

    python benchmarks/peers.py                     # all three
    python benchmarks/peers.py --peers sherpa

Two plasmas with one abundance at a known redshift, five free parameters, in the 262 channels of
NuSTAR from 3 to 13.48 keV: one C-stat fit of each spectrum from one start, in one thread. The
others start from given values, icflow from the best point of its lattice, and it looks at all
combinations of temperature cells besides. Each program is installed in an environment of its own
below results/peers; sherpa comes as sources, which need bison, flex and gfortran. No time is kept
of a program that expects other counts at the true parameters, because a wrong model can be fitted
just as fast, and C of a best fit is computed by icflow, so that it means the same for all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# One thread: read by the linear algebra libraries when numpy loads them.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TQDM_DISABLE="1")

import numpy as np
from rows import OUTPUT, ROOT, machine, save
from yardstick import call_of_apec

import icflow
from icflow.ogip.spectrum import Spectrum, write_spectrum

FOLDER = ROOT / "results/peers"
# What is installed, and by how much its expected counts may differ.
PEERS = {
    "sherpa": ("sherpa==4.18.0", 1e-5),
    "jaxspec": ("jaxspec==0.4.1", 0.02),  # broadens lines thermally, which XSPEC does not
    "elisa": ("astro-elisa==0.3.1", 1e-5),
}
# What `icflow.models.library` imports.
OURS = ["astropy", "platformdirs", "pydantic", "pyyaml", "xspectrampoline==0.1.5"]
# One thread: read by the libraries when they are loaded.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
RESPONSE = {kind: str(ROOT / f"resources/responses/nustar_fpma.{kind}") for kind in ("rmf", "arf")}
EXPOSURE = 1e6
REDSHIFT = 0.05
ENERGIES = [3.0, 13.48]
# icflow leaves out the channel that a limit lies in, as XSPEC does; the others keep it.
XSPEC_ENERGIES = [3.0, 13.5]
# By the names that the peers have: ours, limits and start.
PARAMETERS = {
    "kT": ("apec.kT", [1.0, 15.0], 3.0),
    "Abundanc": ("apec.Abundanc", [0.1, 2.0], 0.5),
    "norm": ("apec.norm", [1e-4, 1.0], 0.05),
    "kT_2": ("apec_2.kT", [1.0, 15.0], 8.0),
    "norm_2": ("apec_2.norm", [1e-4, 1.0], 0.05),
}
TRUTH = {
    "apec.kT": {"uniform": [1, 4]},
    "apec.Abundanc": {"uniform": [0.1, 1]},
    "apec.norm": {"uniform": [0.04, 0.165]},
    "apec_2.kT": {"uniform": [5, 10]},
    "apec_2.norm": {"uniform": [0.04, 0.165]},
}
LINKED = {
    "apec.Redshift": REDSHIFT,
    "apec_2.Redshift": REDSHIFT,
    "apec_2.Abundanc": "apec.Abundanc",
}
MANY = 20  # fits of each spectrum that icflow is timed by
AT_LEAST = 50.0  # times as fast as any of them


class Failed(Exception):
    """Why a program has no row."""


class Task:
    """Spectra that all programs fit, and what icflow makes of them.

    Parameters
    ----------
    n : int
        How many spectra.
    folder : Path
        Where the spectra and the questions and answers of other programs are written.
    """

    def __init__(self, n: int, folder: Path) -> None:
        self.folder = folder
        self.instrument = icflow.Instrument(*RESPONSE.values(), exposure=EXPOSURE)
        drawn = icflow.Model("apec+apec", TRUTH | LINKED)
        self.counts = drawn.fake(self.instrument, n)
        truth = drawn.draw(self.instrument, n)
        self.truth = [
            {name: float(truth[ours].iloc[i]) for name, (ours, *_) in PARAMETERS.items()}
            for i in range(n)
        ]
        limits = {ours: tuple(ends) for ours, ends, _ in PARAMETERS.values()}
        self.model = icflow.Model("apec+apec", limits | LINKED)
        self.spectra = [str(self._written(i)) for i in range(n)]
        self.likelihoods = [
            self.model.likelihood(icflow.read_spectrum(path, energies=XSPEC_ENERGIES, **RESPONSE))
            for path in self.spectra
        ]
        self.best = self.fits()["cstat"]

    def _written(self, i: int) -> Path:
        path = self.folder / f"spectrum-{i}.pha"
        channel = np.arange(len(self.counts[i]))
        write_spectrum(path, Spectrum(channel, self.counts[i], EXPOSURE, instrument="FPMA"))
        return path

    def fits(self, many: int = 1, **starts: int) -> Any:
        """Return the table of icflow's fits, each made some times."""
        counts = np.repeat(self.counts, many, axis=0)
        return self.model.fit_many(counts, self.instrument, energies=XSPEC_ENERGIES, **starts)

    def seconds(self, **starts: int) -> float:
        """Return the CPU seconds that a fit by icflow takes."""
        begin = time.process_time()
        fits = self.fits(MANY, **starts)
        return (time.process_time() - begin) / len(fits)

    def asked_of(self, script: Path, python: str, paths: str) -> Any:
        """Let another program fit the spectra; return its answers, one for each.

        Raises
        ------
        Failed
            If it does not come to an end.
        """
        job = {
            "spectra": self.spectra,
            "truth": self.truth,
            **RESPONSE,
            "energies": ENERGIES,
            "redshift": REDSHIFT,
            "limits": {name: ends for name, (_, ends, _) in PARAMETERS.items()},
            "start": {name: start for name, (*_, start) in PARAMETERS.items()},
        }
        question, answer = (self.folder / f"{script.stem}-{x}.json" for x in ("job", "answer"))
        question.write_text(json.dumps(job))
        answer.unlink(missing_ok=True)
        words = [python, str(script), str(question), str(answer)]
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": paths}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"{script.name}: {done.stderr[-2000:]}")
        return json.loads(answer.read_text())

    def difference(self, answers: Sequence[Mapping[str, Any]]) -> float:
        """Return by how much expected counts differ from icflow's at most, relatively."""
        return max(
            float(np.abs(np.array(one["counts"]) / own.counts(list(truth.values())) - 1).max())
            for own, truth, one in zip(self.likelihoods, self.truth, answers, strict=True)
        )

    def above(self, answers: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return C at the best fits of another program, above that of icflow's."""
        return [
            -2 * own([one["values"][name] for name in PARAMETERS]) - best
            for own, best, one in zip(self.likelihoods, self.best, answers, strict=True)
        ]


def python_with(name: str) -> str:
    """Return the Python that has a program, installed where it is not.

    Raises
    ------
    Failed
        If it cannot be installed.
    """
    requirement, folder = PEERS[name][0], FOLDER / name
    python, installed = str(folder / "bin/python"), folder / "installed"
    if not installed.exists() or installed.read_text() != requirement:
        venv.create(folder, with_pip=True, clear=True)
        words = [python, "-m", "pip", "install", "--quiet", requirement, *OURS]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"it cannot be installed here: {done.stderr.strip()[-500:]}")
        installed.write_text(requirement)
    return python


def report(
    name: str, task: Task, ours: float, answers: Sequence[Mapping[str, Any]], output: Path
) -> None:
    """Print and keep what a program needed, and whether it found the same.

    Raises
    ------
    Failed
        If it expects other counts.
    """
    difference, most = task.difference(answers), PEERS[name][1]
    if not difference <= most:
        raise Failed(f"its expected counts differ by {difference:.1e}, more than {most:g}")
    first, seconds = (float(np.median([one[of] for one in answers])) for of in ("first", "seconds"))
    note = (
        f"{seconds:.2f} CPU s, {first:.1f} the first time; counts differ by {difference:.1e}, "
        f"C is above icflow's by {max(task.above(answers)):.2g} at most"
    )
    ratio = seconds / ours
    save(output, f"peer_{name}", ratio, "× icflow", AT_LEAST, at_least=True, note=note)


def main() -> None:
    """Draw spectra, let all fit them, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--spectra", type=int, default=5)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    FOLDER.mkdir(parents=True, exist_ok=True)
    task = Task(arguments.spectra, FOLDER)
    ours = task.seconds(starts=1)
    print(f"{machine()}; one call of apec {1e3 * call_of_apec():.2f} ms")
    print(f"icflow: {1e3 * ours:.2f} ms from one start,", end=" ")
    print(f"{1e3 * task.seconds():.2f} ms from all", flush=True)
    without = []
    for name in arguments.peers:
        script = Path(__file__).with_name(f"peer_{name}.py")
        try:
            answers = task.asked_of(script, python_with(name), str(ROOT / "src"))
            report(name, task, ours, answers, arguments.output)
        except Failed as reason:
            print(f"{name} has no row: {reason}", flush=True)
            without.append(name)
    if without:
        raise SystemExit(f"no row of {', '.join(without)}")


if __name__ == "__main__":
    main()
