"""Systematics as the configuration gives them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from icflow import config
from icflow.config import Systematics, explain
from icflow.config.reading import read_tree
from icflow.models.systematics import scatter_of

ROOT = Path(__file__).resolve().parents[3]


def test_scatter_is_that_of_all_components_or_of_each() -> None:
    assert scatter_of(Systematics(background=0.1), "lines") == 0.1
    each = Systematics(background={"lines": 0.03})
    assert (scatter_of(each, "lines"), scatter_of(each, "aperture")) == (0.03, 0.0)


def test_nothing_is_wrong_by_default() -> None:
    assert Systematics().area is None and Systematics().gain is None
    assert scatter_of(Systematics(), "lines") == 0
    assert Systematics().json_text() == '{"background":0.0,"known":{}}'


def test_the_examples_of_the_default_set_hold() -> None:
    path = ROOT / "config/systematics.yaml"
    examples = re.findall(r"# known: (\{.*?\})", path.read_text(encoding="utf-8"))
    files = [read_tree(name) for name in (ROOT / "config.yaml", path)]
    errors = []
    for example in examples:
        known = {"instrument": {"systematics": {"known": yaml.safe_load(example)}}}
        run = config.validate(config.overlay(config.overlay(*files), known), "here")
        errors.append(run.modules[0].systematics.known["apec.Redshift"])
    assert errors == [0.001, 0.01]


def test_the_scan_of_what_survives_draws_the_default_set() -> None:
    (module,) = config.load(ROOT / "config.yaml", ROOT / "config/systematics.yaml").modules
    scan = config.load(ROOT / "config.yaml", ROOT / "config/scans/survival.yaml")
    assert scan.ratios["wrong"].systematics == module.systematics
    for name in ("test_2T_all", "test_1T+IC_all", "train_2T_all", "validation_1T+IC_all"):
        assert scan.datasets[name].systematics == module.systematics
    each = [scan.datasets[f"test_2T_{name}"].systematics for name in ("background", "area", "gain")]
    assert each == [
        Systematics(**{name: getattr(module.systematics, name)})
        for name in ("background", "area", "gain")
    ]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"background": -0.1}, "background: is -0.1; input should be greater than or equal to 0"),
        ({"background": {"lines": -0.1}}, "background.lines: is -0.1"),
        ({"area": [[3.0, 0.02]]}, "area: is"),
        ({"area": [[40.0, 0.02], [3.0, 0.02]]}, "area: energies of the nodes must be positive"),
        ({"area": [[3.0, 0.1], [40.0, 2.0]]}, "area: the node at 40 keV has a scatter of 2; it is"),
        ({"area": [[3.0, -0.2], [40.0, 0.2]]}, "area: the node at 3 keV has a scatter of -0.2; it"),
        ({"area": 0.02}, "area: is 0.02; write nodes, energies in keV and a scatter at each: [["),
        ({"gain": {"offset": -60.0}}, "gain.offset: is -60.0"),
        (
            {"gain": {"offset": 0.06}},
            "gain.offset: is 0.06 eV, less than 1; if 0.06 keV is meant",
        ),
        ({"gain": 60.0}, "gain: is 60.0; write {offset: 60.0}, in eV"),
        ({"known": {"apec.Redshift": 0.0}}, "known.apec.Redshift: is 0.0"),
        ({"scatter": 0.1}, "scatter: unknown key"),
    ],
)
def test_refuses(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Systematics.model_validate(given)
    assert reason in explain(caught.value)
