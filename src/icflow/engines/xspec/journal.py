"""What XSPEC has answered so far, in a file beside the output of a stage.

A stage writes its output at the end, whole or not at all. With XSPEC that may
take hours, and a node may die in the middle: every answer is therefore also
appended to ``OUTPUT.partial.jsonl``. The next run of the stage asks the same
questions again, those that were answered cost nothing, and the output has the
same bytes as that of a run that nobody disturbed. Questions of other settings,
inputs or code have other digests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from icflow.files import sha256_of

Answer = dict[str, Any]


class Journal:
    """Answers by the digest of their question, in a file until the stage is done.

    A process left over from a run that was killed may append to the same file:
    lines are whole or, like one that a crash has cut, ignored.

    Parameters
    ----------
    output : Path
        The output of the stage.
    """

    def __init__(self, output: Path) -> None:
        self.path = output.with_name(output.name + ".partial.jsonl")
        self.answers: dict[str, Answer] = {}
        with suppress(FileNotFoundError):
            for line in self.path.read_bytes().split(b"\n"):
                with suppress(ValueError, TypeError, KeyError):
                    entry = json.loads(line)
                    self.answers[entry["question"]] = entry["answer"]

    def answer(self, question: Any, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a question, that of the file if there is one."""
        digest = sha256_of(question)
        if digest not in self.answers:
            answer = ask()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab") as file:
                # The line feed in front ends a line that a crash has cut.
                file.write(b"\n" + json.dumps({"question": digest, "answer": answer}).encode())
            self.answers[digest] = answer
        return self.answers[digest]

    def delete(self) -> None:
        """Forget everything: the stage is done."""
        self.path.unlink(missing_ok=True)
