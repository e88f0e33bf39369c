"""What a stage has finished so far, in a file beside its output.

A stage writes its output at the end, whole or not at all. Some take hours, and
a node may die in the middle: every result is therefore also appended to
``OUTPUT.partial.jsonl`` as it comes. The next run of the stage with the same
settings, inputs and code takes these and goes on, and the finished output has
the same bytes as that of a run that nobody disturbed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from icflow.engines.registry import ENGINES
from icflow.files import canonical_json, sha256
from icflow.provenance import code_digest
from icflow.settings import FitSettings, SimulateSettings


def key_of(settings: SimulateSettings | FitSettings, *parts: str) -> str:
    """Return a digest of what the results of an engine depend on.

    These are the settings, the content of the files that they name, the
    sources of the engine, and `parts`: whatever else decides.
    """
    instrument = settings.instrument
    files = (instrument.rmf, instrument.arf, instrument.background)
    parts = (
        settings.json_text(),
        code_digest([ENGINES[settings.engine][0]]),
        *(sha256(name) for name in files if name is not None),
        *parts,
    )
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()


class Partial:
    """Finished results, in order, kept in a file until the stage is done.

    Entered, it holds the file and a lock on it. If another process, left over
    from a run that was killed, works on the same output, nothing is kept.

    Parameters
    ----------
    output : Path
        The output of the stage.
    key : str
        A file that was kept under another key is not used.
    """

    def __init__(self, output: Path, key: str) -> None:
        self.path = output.with_name(output.name + ".partial.jsonl")
        self.key = key
        self.results: list[Any] = []
        self._file: Any = None

    def __enter__(self) -> Partial:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return self
        except OSError:
            pass  # a file system without locks
        self._file = file
        end = self._read()
        file.truncate(end)
        if end == 0:
            self._write({"key": self.key})
        return self

    def _read(self) -> int:
        """Read what was finished; return where it ends, 0 if none of it can be used."""
        self._file.seek(0)
        end = 0
        with suppress(ValueError, AttributeError, KeyError):  # a line that a crash left in pieces
            for number, line in enumerate(self._file):
                entry = json.loads(line)
                expected = {"key": self.key} if number == 0 else {"number": number}
                if not line.endswith(b"\n") or not expected.items() <= entry.items():
                    break
                if number > 0:
                    self.results.append(entry["result"])
                end += len(line)
        return end

    def add(self, result: Any) -> None:
        """Keep one more result, anything that JSON can hold."""
        self.results.append(result)
        if self._file is not None:
            self._write({"number": len(self.results), "result": result})

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        """Delete the file if the stage is done, or has nothing to keep."""
        if self._file is None:
            return
        if kind is None or not self.results:
            self.path.unlink(missing_ok=True)
        self._file.close()
