"""A process of XSPEC: started when it is needed, and again after a crash."""

from __future__ import annotations

import json
import signal
import site
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any

from icflow import heasoft
from icflow.engines.xspec import worker
from icflow.engines.xspec.version import PYTHON, xspec_python
from icflow.errors import IcflowError

NO_XSPEC = (
    "engine: xspec needs XSPEC with PyXspec, and {python} cannot use it ({reason}); run in the "
    "Apptainer image built from containers/heasoft.def (snakemake --use-singularity), install "
    "heasoft from HEASARC's conda channel (snakemake --use-conda), or set HEADAS to a local "
    f"HEASoft and source its headas-init.sh; {PYTHON} may name the Python that has PyXspec"
)
LIMIT = 600  # seconds that XSPEC may take for one fit or fake: far beyond the longest
START = 600  # seconds that it may take to start, from a slow disk
PATIENCE = 20  # seconds for a process to end that has closed its pipes


class XspecCrash(Exception):
    """The process of XSPEC ended before it replied."""


class XspecKilled(XspecCrash):
    """Somebody else has killed it, most likely a machine that is out of memory."""


class XspecError(IcflowError):
    """XSPEC could not do what it was asked for, and lives."""


class NoXspecError(IcflowError):
    """XSPEC does not start, or cannot do this: no fault of a spectrum."""


class Process:
    """A process that runs `icflow.engines.xspec.worker`, which describes the requests.

    Parameters
    ----------
    folder : Path
        Its working and home directory, which holds the files that it reads.
    setup : dict
        The first request to every process.
    """

    def __init__(self, folder: Path, setup: Mapping[str, Any]) -> None:
        self.folder, self.setup = folder, setup
        self.python = xspec_python()
        self.process: subprocess.Popen[str] | None = None
        self.versions: dict[str, str] = {}

    def ask(self, request: Mapping[str, Any], fits: int = 1) -> dict[str, Any]:
        """Return the reply to a request, which takes no longer than so many fits.

        Raises
        ------
        XspecCrash
            If the process ends instead; the next request starts a new one.
        XspecError
            If XSPEC refuses, with what it said.
        NoXspecError
            If there is no XSPEC, or none that can do this.
        """
        if self.process is None:
            self.start()
        reply = self._exchange(request, fits * LIMIT)
        if "error" in reply:
            raise XspecError(f"XSPEC: {reply['error']}")
        if "unable" in reply:
            raise NoXspecError(reply["unable"])
        return reply

    def start(self) -> None:
        """Start a process and set it up; a `NoXspecError` says how to get XSPEC."""
        try:
            self.process = subprocess.Popen(  # noqa: S603 - a fixed command
                [self.python, worker.__file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self.folder,
                env=self.environment(),
                encoding="utf-8",
            )
            reply = self._exchange({"do": "setup", **self.setup}, START)
        except OSError as error:
            raise self._missing(error.strerror or str(error)) from None
        except XspecCrash as crash:
            raise self._missing(f"{crash} when it started") from None
        if "missing" in reply:
            raise self._missing(reply["missing"])
        if "error" in reply:
            self.stop()
            raise NoXspecError(f"XSPEC: {reply['error']}")
        if self.versions not in ({}, reply):
            self.stop()
            raise NoXspecError(
                f"XSPEC is {reply['xspec']} now and was {self.versions['xspec']} when this job "
                "began; run again with one XSPEC, and what is finished is kept if it is the old one"
            )
        self.versions = reply

    def stop(self) -> None:
        """End the process, if there is one."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def environment(self) -> dict[str, str]:
        """Return an environment in which XSPEC asks nothing and reads no settings of the user."""
        environment = heasoft.environment(self.folder)
        # Packages that the user installed stay where they are.
        environment.setdefault("PYTHONUSERBASE", site.getuserbase())
        return environment

    def _missing(self, reason: str) -> NoXspecError:
        self.stop()
        headas = heasoft.folder()
        if not headas:
            reason += "; HEADAS is not set"
        elif Path(headas, "headas-init.sh").is_file():
            reason += f"; HEADAS is {headas}"
        else:
            reason += f"; HEADAS is {headas}, where no HEASoft is"
        return NoXspecError(NO_XSPEC.format(python=self.python, reason=reason))

    def _exchange(self, request: Mapping[str, Any], limit: float) -> dict[str, Any]:
        process = self.process
        assert process is not None and process.stdin is not None and process.stdout is not None
        late = Event()

        def end() -> None:
            late.set()
            process.kill()

        timer = Timer(limit, end)
        timer.daemon = True  # a job that is told to end here does not wait for it
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            reply = json.loads(line) if line.endswith("\n") else None
        except (OSError, ValueError):
            reply = None
        finally:
            timer.cancel()
        if not isinstance(reply, dict):
            status = self._ended(process)
            if late.is_set():
                raise XspecCrash(f"XSPEC took longer than {limit:g} s")
            if status == -signal.SIGKILL:
                raise XspecKilled("XSPEC was killed (out of memory?)")
            raise XspecCrash(f"XSPEC ended with status {status}")
        return reply

    def _ended(self, process: subprocess.Popen[str]) -> int:
        """Return the status of a process that has stopped to answer."""
        try:
            status = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        with suppress(OSError):  # what it did not read any more
            process.communicate()
        self.process = None
        return status
