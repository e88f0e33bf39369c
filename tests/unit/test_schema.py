"""The reference of the configuration, which is written from its types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from icflow import schema
from icflow.config import overlay

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["schema.json", "README.md"])
def test_the_files_are_in_step_with_the_types(name: str) -> None:
    path = ROOT / "config" / name
    assert path.read_text() == schema.files(ROOT / "config")[path], "run `make schema`"
    assert schema.markdown() in schema.files(ROOT / "config")[ROOT / "config/README.md"]


def test_the_schema_accepts_the_default_configuration() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    checker = jsonschema.Draft202012Validator(json.loads(schema.json_text()))
    default: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert not list(checker.iter_errors(default))
    prior = {"scenarios": {"2T": {"parameters": {"apec.kT": {"unifrom": [1, 2]}}}}}
    for change in ({"fits": {"extra": 1}}, prior):
        assert list(checker.iter_errors(overlay(default, change)))


def test_every_key_of_the_schema_is_explained() -> None:
    for line in schema.markdown().splitlines()[2:]:
        assert not line.endswith("|  |"), line
