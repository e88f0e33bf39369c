"""XSPEC's functions in a process of their own, for those that can end the process that calls them.

Many functions crash, or never answer, at parameters that their limits allow. All but those that are
used most (`icflow.models.library.STEADY`) are called in a child process, which costs a tenth of a
millisecond a call: where that ends, or does not answer, the parent lives and says which model at
which parameters.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import struct
import subprocess
import sys
from typing import IO

import numpy as np

from icflow.config import AtomicData, from_json
from icflow.errors import IcflowError
from icflow.folders import child_environment
from icflow.typing import Floats

PATIENCE = 120  # s for one call
# Ahead of a request: bytes of the name, numbers of edges and of parameters.
HEAD = struct.Struct("<3q")
# Ahead of a reply: how many numbers follow.
SIZE = struct.Struct("<q")


class Apart:
    """A child process that evaluates models, started anew after it has ended.

    Parameters
    ----------
    atomic_data : AtomicData
        Abundances, cross sections and AtomDB tables of all calls.
    """

    def __init__(self, atomic_data: AtomicData) -> None:
        self._settings = atomic_data.model_dump_json()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def evaluate(self, name: str, edges: Floats, values: Floats, where: str) -> Floats:
        """Return what a model gives, in its own units, shape (n_bins,).

        Parameters
        ----------
        name : str
            In lower case.
        edges : ndarray, shape (n_bins + 1,)
            keV.
        values : ndarray, shape (n_parameters,)
        where : str
            The model and its parameters in words, for what is said if it fails.

        Raises
        ------
        IcflowError
            If the process ends, or does not answer.
        """
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        text = name.encode()
        try:
            process.stdin.write(HEAD.pack(len(text), len(edges), len(values)) + text)
            process.stdin.write(edges.tobytes() + values.tobytes())
            process.stdin.flush()
            if not select.select([process.stdout], [], [], PATIENCE)[0]:
                raise self._failed(where, f"does not answer within {PATIENCE} s")
            return _numbers(process.stdout, *SIZE.unpack(_whole(process.stdout, SIZE.size)))
        except (BrokenPipeError, EOFError):
            raise self._failed(where, f"ends its process (signal {-process.wait()})") from None

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - a fixed command
            [sys.executable, "-m", __name__, self._settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
        )

    def _failed(self, where: str, how: str) -> IcflowError:
        self.stop()
        return IcflowError(
            f"{where}: XSPEC's function {how}; keep the parameters away from there, or use another "
            "model"
        )


def _whole(stream: IO[bytes], size: int) -> bytes:
    """Read so many bytes; an EOFError says that there are fewer."""
    content = stream.read(size)
    if len(content) < size:
        raise EOFError
    return content


def _numbers(stream: IO[bytes], count: int) -> Floats:
    return np.frombuffer(_whole(stream, 8 * count)).copy()


def serve(requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer requests until there are no more.

    A call that does not end ends the process, in case that nobody is left who would.
    """
    from icflow.models import library

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while head := requests.read(HEAD.size):
        length, n_edges, n_values = HEAD.unpack(head)
        definition = library.definitions()[_whole(requests, length).decode()]
        edges, values = _numbers(requests, n_edges), _numbers(requests, n_values)
        signal.alarm(int(PATIENCE) + 1)
        flux = library.evaluate_here(definition, edges, values)
        signal.alarm(0)
        replies.write(SIZE.pack(len(flux)) + flux.tobytes())
        replies.flush()


if __name__ == "__main__":
    from icflow.models import library

    library.configure(from_json(AtomicData, sys.argv[1]))
    # What the library prints must not be taken for replies.
    with os.fdopen(os.dup(1), "wb") as channel, open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        serve(sys.stdin.buffer, channel)
