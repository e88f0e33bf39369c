"""Systematics as the configuration gives them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from icflow.config import Systematics, explain


def test_scatter_is_that_of_all_components_or_of_each() -> None:
    assert Systematics(background=0.1).scatter_of("lines") == 0.1
    each = Systematics(background={"lines": 0.03})
    assert (each.scatter_of("lines"), each.scatter_of("aperture")) == (0.03, 0.0)


def test_nothing_is_wrong_by_default() -> None:
    assert Systematics().calibrated
    assert Systematics().scatter_of("lines") == 0
    assert Systematics().json_text() == '{"background":0.0,"known":{}}'


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"background": -0.1}, "background: is -0.1; input should be greater than or equal to 0"),
        ({"background": {"lines": -0.1}}, "background.lines: is -0.1"),
        ({"area": [[3.0, 0.02]]}, "area: is"),
        ({"area": [[40.0, 0.02], [3.0, 0.02]]}, "area: energies of the nodes must be positive"),
        ({"area": [[3.0, 2.0], [40.0, 2.0]]}, "area: a scatter is 2; it is relative"),
        ({"area": [[3.0, -0.2], [40.0, 0.2]]}, "area.0.1: is -0.2"),
        ({"gain": {"offset": -60.0}}, "gain.offset: is -60.0"),
        ({"known": {"apec.Redshift": 0.0}}, "known.apec.Redshift: is 0.0"),
        ({"scatter": 0.1}, "scatter: unknown key"),
    ],
)
def test_refuses(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Systematics.model_validate(given)
    assert reason in explain(caught.value)
