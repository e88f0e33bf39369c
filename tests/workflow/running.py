"""A working directory in which tests run Snakemake."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import jobs
import yaml
from fetched import fetch

from icflow.config import overlay

ROOT = Path(__file__).resolve().parents[2]
TINY = "config/tiny.yaml"

# As many jobs as the tiny configuration has, each of half as many spectra.
HALVED = {
    "shard_size": 30,
    "datasets/train_2T/size": 60,
    "datasets/train_1T+IC/size": 30,
    "datasets/validation_2T/size": 30,
    "datasets/validation_1T+IC/size": 30,
    "datasets/test_2T/size": 20,
    "datasets/test_1T+IC/size": 20,
    "autoencoder/training/spectra": 60,
    "autoencoder/training/batch": 10,
    "detection/fitted": 30,
}

# What depends on when and how a result was made: not compared.
_CHANGING = re.compile(r"(logs|benchmarks)/|report\.html$|(.*/)?\.[^/]*$")


# Runs are forked from a process that has imported Snakemake and the library already, and so are
# their jobs. Jobs that test_kills.py kills, and all of test_wheel.py and test_projects.py, are
# processes of their own, as everywhere else, and end with the same bytes.
_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = """
snakemake.cli snakemake.api snakemake.profiles snakemake.report.html_reporter snakemake.storage
filelock pandas requests smart_open icflow.checks icflow.provenance icflow.settings
icflow.detection.detectors icflow.publish.figures.registry
"""
_FORKS.set_forkserver_preload(_IMPORTED.split())


def _snakemake(arguments: Sequence[str], folder: Path, output: str, functions: str) -> None:
    """Run Snakemake in this process, which ends with it; what it says goes into a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    # The leader of a group that can be killed. Whoever runs tests in the background has interrupts
    # ignored, which children inherit.
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    os.environ |= {"NO_COLOR": "1", "BASH_ENV": functions}
    sys.argv = ["snakemake", *arguments]
    from snakemake.cli import main

    main(list(arguments))


def _copy(source: str, target: str) -> None:
    copy = os.link if source.endswith(".safetensors") else shutil.copy2
    copy(source, target)


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Turn keys such as ``figures/dpi`` into a tree."""
    tree: dict[str, Any] = {}
    for path, value in settings.items():
        *sections, last = path.split("/")
        below = tree
        for section in sections:
            below = below.setdefault(section, {})
        below[last] = value
    return tree


@dataclass(frozen=True)
class Project:
    """A working directory of its own, with a link to the resources."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Project:
        """Make a working directory with the default and half the tiny configuration."""
        (folder / "config").mkdir(parents=True)
        shutil.copy(ROOT / "config.yaml", folder)
        tiny = yaml.safe_load((ROOT / TINY).read_text())
        (folder / TINY).write_text(yaml.safe_dump(overlay(tiny, nest(HALVED))))
        (folder / "resources").symlink_to(fetch())
        return cls(folder)

    def copy(self, folder: Path) -> Project:
        """Copy everything, time stamps included; weights, most of it, are replaced, not changed."""
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=_copy)
        return Project(folder)

    @property
    def results(self) -> Path:
        """Folder of the results."""
        return self.folder / "results"

    def start(
        self,
        *targets: str,
        change: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        around: Sequence[str] = (),
    ) -> Any:
        """Start Snakemake with the tiny configuration and return its process.

        `change` holds settings that are laid over it: paths of keys, and values.
        `around` is a command that starts the rest of its arguments.
        """
        command = [
            *around,
            sys.executable,
            "-m",
            "snakemake",
            *self._arguments(targets, change, options),
        ]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | {"NO_COLOR": "1"} | dict(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _arguments(
        self, targets: Sequence[str], change: Mapping[str, Any] | None, options: Sequence[str]
    ) -> list[str]:
        configs = [TINY]
        if change is not None:
            (self.folder / "change.yaml").write_text(yaml.safe_dump(nest(change)))
            configs.append("change.yaml")
        return [
            *("--snakefile", str(ROOT / "Snakefile"), "--cores", "2"),
            *("--configfile", *configs, *options, "--", *targets),
        ]

    def run(
        self,
        *targets: str,
        change: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        **how: Any,
    ) -> tuple[int, str]:
        """Run Snakemake, as `start`; return its exit status and what it said."""
        if how:
            # An environment of its own: not that of the process that has imported the library.
            process = self.start(*targets, change=change, options=options, **how)
            output, _ = process.communicate()
            return process.returncode, output
        with tempfile.NamedTemporaryFile("r") as said:
            arguments = self._arguments(targets, change, options)
            fork = self._fork(arguments, Path(said.name), jobs.start())
            fork.join()
            return int(fork.exitcode or 0), said.read()

    def fork(self, target: str, output: Path) -> BaseProcess:
        """Fork Snakemake as the leader of a group, its jobs processes of their own."""
        return self._fork(self._arguments([target], None, ()), output, "")

    def _fork(self, arguments: Sequence[str], output: Path, functions: str) -> BaseProcess:
        given = (arguments, self.folder, str(output), functions)
        fork = _FORKS.Process(target=_snakemake, args=given)
        fork.start()
        return fork

    def jobs(self, *targets: str, **how: Any) -> dict[str, int]:
        """Return how many jobs of each rule a dry run announces."""
        status, output = self.run(*targets, options=["--dry-run", "--quiet", "rules"], **how)
        assert status == 0, output
        if "Nothing to be done" in output:
            return {}
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.DOTALL | re.MULTILINE)
        assert table is not None, output
        counts: Counter[str] = Counter()
        for line in table[1].splitlines():
            rule, count = line.split()
            # The figures have a rule each: figures_1, figures_roc, ...
            counts[re.sub(r"^figures_\w+$", "figures", rule)] += int(count)
        del counts["all"]
        return dict(counts)

    def contents(self) -> dict[str, bytes]:
        """Return every result that must not depend on when and how it was made."""
        files = {
            path.relative_to(self.results).as_posix(): path
            for path in sorted(self.results.rglob("*"))
            if path.is_file()
        }
        return {n: path.read_bytes() for n, path in files.items() if not _CHANGING.match(n)}
