"""Jobs that start at once: forks of a process that has imported the library.

`start` starts the server and returns what the shell of a job reads first: a function in place of
the program `icflow`. It hands its words, folder, environment and files to the server, which forks a
process that does what the program does.
"""

from __future__ import annotations

import marshal
import os
import socket
import sys
from functools import cache

SERVE = "--serve"


@cache
def start() -> str:
    """Start the server, which ends with this process; return a value of BASH_ENV."""
    import atexit
    import shlex
    import subprocess
    import tempfile
    from pathlib import Path

    folder = tempfile.TemporaryDirectory(prefix="jobs-")
    place = Path(folder.name, "socket")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen(64)
    server = subprocess.Popen(
        [sys.executable, __file__, SERVE, str(listener.fileno())],
        pass_fds=[listener.fileno()],
        # As Snakemake sets it for jobs, before libraries are loaded.
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    atexit.register(folder.cleanup)
    atexit.register(server.kill)
    ask = shlex.join([sys.executable, "-IS", __file__, str(place)])
    function = Path(folder.name, "functions.sh")
    function.write_text(f'icflow() {{ {ask} "$@"; }}\n')
    return str(function)


def ask(path: str, words: list[str]) -> int:
    """Have the server run `icflow` with some words; return its exit status."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        socket.send_fds(connection, [b"\0"], [0, 1, 2])
        connection.sendall(marshal.dumps((words, os.getcwd(), dict(os.environ))))
        connection.shutdown(socket.SHUT_WR)
        # A job that was killed says nothing.
        return (connection.recv(1) or b"\x89")[0]


def serve(listener: int) -> None:
    """Run jobs that are asked for at a listening socket, as long as the process lives that asks."""
    import gc
    import select
    from socketserver import ForkingMixIn, StreamRequestHandler, UnixStreamServer

    class Job(StreamRequestHandler):
        def handle(self) -> None:
            _, files, _, _ = socket.recv_fds(self.connection, 1, 3)
            words, folder, environment = marshal.loads(self.rfile.read())
            for number, file in enumerate(files):
                os.dup2(file, number)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.argv = ["icflow", *words]
            self.wfile.write(bytes([_icflow()]))

    class Server(ForkingMixIn, UnixStreamServer):
        def service_actions(self) -> None:
            super().service_actions()
            if os.getppid() != parent:
                sys.exit()

    parent = os.getppid()
    server = Server("", Job, bind_and_activate=False)
    server.socket = socket.socket(fileno=listener)
    # Nothing is imported for runs that start no job.
    while not select.select([server], [], [], 1)[0]:
        server.service_actions()
    _import_all()
    gc.freeze()
    server.serve_forever()


# What stages import when they run.
LATE = """
astropy.io.fits matplotlib.backends.backend_agg matplotlib.backends.backend_pdf scipy.interpolate
scipy.optimize scipy.sparse scipy.stats sklearn.discriminant_analysis sklearn.ensemble
sklearn.inspection sklearn.isotonic sklearn.linear_model sklearn.neighbors
"""


def _import_all() -> None:
    """Import whatever stages do."""
    import importlib
    import pkgutil

    import icflow

    for module in pkgutil.walk_packages(icflow.__path__, "icflow."):
        if not module.name.startswith(("icflow.engines.xspec.", "icflow.project_files")):
            importlib.import_module(module.name)
    for name in LATE.split():
        importlib.import_module(name)


def _icflow() -> int:
    """Do what the program does, and return its exit status."""
    import atexit
    import traceback

    from icflow import cli

    try:
        return cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == SERVE:
        serve(int(sys.argv[2]))
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
