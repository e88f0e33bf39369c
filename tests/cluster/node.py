"""A cluster of one node and an image of icflow, both made on the spot and thrown away.

The node is a Debian root file system with Slurm and Apptainer, in namespaces of
its own and without a network, as compute nodes often are.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from fetched import fetch

from icflow.config import overlay

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

SPACE = 10e9  # bytes that the root file systems and the image take
BUILD = 600  # seconds for all of the build: after that the network is too slow to wait for
RUN = 600  # seconds after which a command on the node hangs
CANNOT_FETCH = 75  # exit status of a script that could not get packages
SUBMIT = "/opt/submit/bin"  # Snakemake and icflow on the node, without torch


# What is left of the configuration: a detector of each kind with what it reads.
KEPT = {
    "detection.detectors": ("cae", "cstat_rule_fixed", "delta_cstat_fixed"),
    "fits.baseline": ("2T_fixed", "1T+IC_fixed"),
    "autoencoder.networks": ("cae",),
}


LEFT_OUT = ("integrals", "scans")
DETECTION_LEFT_OUT = ("training_ic", "ceiling")

# What enter.sh must be allowed to do.
TRY = """
echo node >/proc/sys/kernel/hostname
mount -t tmpfs none "$0"
mkdir "$0/proc"
mount -t proc proc "$0/proc"
"""


class Unavailable(Exception):
    """Why no cluster can be made on this machine."""


# --- making it -------------------------------------------------------------------------------


def check_machine(folder: Path) -> None:
    """Raise `Unavailable` if the machine lacks something that no script can make up for."""
    if os.geteuid() != 0:
        raise Unavailable("it takes root to make root file systems and namespaces")
    if sys.version_info[:2] != (3, 11):
        raise Unavailable("packages are fetched for Debian 12's Python 3.11, which this is not")
    for name in ("apt-get", "dpkg-deb", "nsenter", "setpriv", "unshare", "wget"):
        if shutil.which(name) is None:
            raise Unavailable(f"{name} is not installed")
    if shutil.disk_usage(folder).free < SPACE:
        raise Unavailable(f"{folder} has less than {SPACE / 1e9:.0f} GB left (set TMPDIR)")
    namespaces = ["--mount", "--pid", "--fork", "--ipc", "--uts", "--net"]
    done = subprocess.run(
        ["unshare", *namespaces, "--propagation", "private", "sh", "-ec", TRY, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Unavailable(f"namespaces are forbidden here ({done.stderr.strip()})")


def step(what: str, deadline: float, *command: str | Path, **variables: str) -> None:
    """Run a command of the build, which ends before the deadline."""
    started = time.monotonic()
    process = subprocess.Popen(
        # Mounts that a killed script leaves end with it.
        ["unshare", "--mount", "--propagation", "private", *map(str, command)],
        env=os.environ | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=max(deadline - started, 0))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise Unavailable(f"{what}: the build was not done after {BUILD} s") from None
    print(f"  {what}: {time.monotonic() - started:.0f} s", flush=True)
    tail = "\n".join(output.strip().splitlines()[-30:])
    if process.returncode == CANNOT_FETCH:
        raise Unavailable(f"{what}: {tail.splitlines()[-1]}")
    assert process.returncode == 0, f"{what} ended with status {process.returncode}:\n{tail}"


def build(folder: Path) -> None:
    """Make the image's root file system ``image`` and the node's, ``node``.

    What waits for the network, and what one core is enough for, is done side by side.
    """
    shared, image, node = folder / "shared", folder / "image", folder / "node"
    (shared / "scripts").mkdir(parents=True)
    for script in (*HERE.glob("*.sh"), HERE / "slurm.conf"):
        shutil.copy(script, shared / "scripts")
    enter = [HERE / "enter.sh", node, shared]
    install, wheels = shared / "scripts/install_node.sh", shared / "wheels"
    python = {"PYTHON": sys.executable}
    end = time.monotonic() + BUILD
    with ThreadPoolExecutor() as side:
        fetched = side.submit(step, "Snakemake", end, HERE / "fetch_submit.sh", wheels, **python)
        step("Debian", end, ROOT / "containers" / "debian_base.sh", image)
        step("a copy for the node", end, "cp", "--archive", image, node)
        mirror = (node / "etc/apt/sources.list").read_text().split()[1]
        made = side.submit(step, "icflow", end, ROOT / "containers/debian.sh", image, **python)
        fetched.result()
        step("Slurm and Apptainer", end, *enter, install, mirror, wheels)
        made.result()
    # Apptainer builds from folders that it sees.
    os.rename(image, shared / "image")
    definition = (folder / "image.def").read_text().replace(str(image), str(shared / "image"))
    (shared / "image.def").write_text(definition)
    step(
        "icflow.sif", end, *enter, "apptainer", "build",
        # Fast to make; the default is 10 % smaller.
        "--mksquashfs-args", "-comp zstd -Xcompression-level 1",
        shared / "icflow.sif", shared / "image.def",
    )  # fmt: skip
    shutil.rmtree(shared / "image")
    shutil.rmtree(wheels)


# --- using it ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """A running Slurm of one node.

    Attributes
    ----------
    shared : Path
        Folder that has the same path on the node and here; holds ``icflow.sif``.
    holder : Process
        What holds the node's namespaces.
    """

    shared: Path
    holder: psutil.Popen

    @classmethod
    def start(cls, folder: Path) -> Cluster:
        """Start Slurm in the node's root file system."""
        shared = folder / "shared"
        start = shared / "scripts" / "start_slurm.sh"
        holder = psutil.Popen(
            [HERE / "enter.sh", folder / "node", shared, start, shared / "slurm"],
            env=os.environ | {"OFFLINE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in holder.stdout:
            said.append(line)
            if line == "ready\n":
                return cls(shared, holder)
        raise AssertionError(f"Slurm does not start:\n{''.join(said)}")

    @property
    def image(self) -> Path:
        """The image, which projects have under ``containers``."""
        return self.shared / "icflow.sif"

    @property
    def init(self) -> psutil.Process:
        """The first process of the node, with which all others end."""
        (child,) = self.holder.children()
        return child

    def stop(self) -> None:
        """End the node with all its processes."""
        self.init.kill()
        self.holder.wait()

    def start_command(
        self, *command: str | Path, cwd: Path | None = None, **variables: str
    ) -> subprocess.Popen[str]:
        """Start a command on the node and return its process."""
        environment = {
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "PATH": f"{SUBMIT}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            # Apptainer would ask for capabilities that a container's root may not have.
            "APPTAINER_NO_PRIVS": "1",
            "NO_COLOR": "1",
            **variables,
        }
        return subprocess.Popen(
            [
                "nsenter", f"--target={self.init.pid}",
                "--mount", "--pid", "--ipc", "--uts", "--net",
                "env", "--ignore-environment", f"--chdir={cwd or self.shared}",
                *(f"{name}={value}" for name, value in environment.items()),
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )  # fmt: skip

    def run(self, *command: str | Path, **how: Any) -> tuple[int, str]:
        """Run a command on the node; return its exit status and what it said."""
        return finish(self.start_command(*command, **how))

    def project(self, name: str, settings: Mapping[str, Any] | None = None) -> Project:
        """Make a working directory: a checkout, the resources, the image, small settings."""
        folder = self.shared / name
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        for path in filter(None, listed.stdout.split("\0")):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target, follow_symlinks=False)
        fetch(folder)
        os.link(self.image, folder / "containers" / "icflow.sif")
        tree = small_configuration(settings or {})
        (folder / "config.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
        return Project(self, folder)


def small_configuration(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that goes through all stages to Table 1 with as little as possible."""
    tree: dict[str, Any] = {}
    for path in (ROOT / "config.yaml", ROOT / "config" / "tiny.yaml", HERE / "small.yaml"):
        tree = overlay(tree, yaml.safe_load(path.read_text()))
    for key, names in KEPT.items():
        section, part = key.split(".")
        tree[section][part] = {name: tree[section][part][name] for name in names}
    for section in LEFT_OUT:
        tree.pop(section, None)
    for key in DETECTION_LEFT_OUT:
        tree["detection"].pop(key, None)
    return overlay(tree, settings)


@dataclass(frozen=True)
class Project:
    """A clone of the project on the cluster, with small settings."""

    cluster: Cluster
    folder: Path

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start Snakemake as on a login node and return its process."""
        return self.cluster.start_command(
            "snakemake", "--workflow-profile", "slurm",
            # The profile's defaults spare the controller of a busy site.
            "--slurm-no-account", "--slurm-init-seconds-before-status-checks", "1",
            "--seconds-between-status-checks", "1", "--latency-wait", "10",
            *arguments,
            cwd=self.folder,
            **variables,
        )  # fmt: skip

    def run(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run Snakemake; return its exit status and what it said."""
        return finish(self.start(*arguments, **variables))


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for a command on the node; return its exit status and what it said."""
    try:
        output, _ = process.communicate(timeout=RUN)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        raise AssertionError(f"{process.args} hangs:\n{output}") from None
    return process.returncode, output
