"""The rules of the workflow: what an edit of the code makes a job run again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from icflow import provenance

# Without code: a file in place is left alone.
WITHOUT = {"fetch"}
# The stage imports the registry, and with it the code of all figures; each rule has its own.
OWN = {"figures"}
RULE = re.compile(r"^ *(?:use rule (\w+) as (\w+) with|rule(?: (\w+))?):\n", re.MULTILINE)
COMMAND = re.compile(r'"icflow ([a-z-]+)')
CODE = re.compile(r'code=code\w*\("(\w+)"(.*)\),\n')


def rules(root: Path) -> dict[str, str]:
    """Every rule that runs a command: its text, with what it inherits before it."""
    texts: dict[str, str] = {}
    for path in sorted((root / "workflow/rules").glob("*.smk")):
        parts = RULE.split(path.read_text(encoding="utf-8"))[1:]
        for base, heir, name, text in zip(*(parts[n::4] for n in range(4)), strict=True):
            texts[heir or name or path.stem] = f"{base or ''}\n{text}"
    bases = {name: text.split("\n", 1)[0] for name, text in texts.items()}
    whole = {name: texts.get(base, "") + texts[name] for name, base in bases.items()}
    return {name: text for name, text in whole.items() if COMMAND.search(text)}


def modules(stage: str) -> set[str]:
    """Every module that a stage imports, itself included."""
    seen: set[str] = set()
    waiting = [f"icflow.stages.{stage}"]
    while waiting:
        name = waiting.pop()
        if name not in seen and not provenance._is_vocabulary(name):
            seen.add(name)
            waiting += provenance._imports(name)
    return seen


def test_the_code_of_a_rule_is_that_of_the_stage_that_it_runs(root: Path) -> None:
    found = rules(root)
    assert {"simulate_shard", "scan_score", "observe_source", "figures", "fetch"} < set(found)
    for name, text in found.items():
        (command,) = COMMAND.findall(text)
        stage = command.replace("-", "_")
        # An heir may say anew what it inherits.
        codes = CODE.findall(text)
        if stage in WITHOUT | OWN:
            assert not codes, name
        else:
            assert {code for code, _ in codes} == {stage}, name


def test_a_rule_whose_stage_chooses_the_engine_names_its_code(root: Path) -> None:
    """The registry imports an engine by its name, which the digest does not follow."""
    for name, text in rules(root).items():
        chooses = "icflow.engines.registry" in modules(COMMAND.findall(text)[0].replace("-", "_"))
        named = "ENGINE_MODULE" in text or "code_of_fit" in text
        assert named == chooses, name


@pytest.mark.parametrize("elsewhere", ["whole", "page"])
def test_the_analysis_of_an_observation_does_not_depend_on_what_comes_after(elsewhere: str) -> None:
    assert "icflow.observation.analysis" in modules("observe")
    assert f"icflow.observation.{elsewhere}" not in modules("observe")
