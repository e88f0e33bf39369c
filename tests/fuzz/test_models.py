"""XSPEC's functions anywhere within their limits: those that run in this process do not end it.

Each is called in a child process here; one that ends it does not belong in `library.STEADY`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from attempts import OUTCOMES
from hypothesis import given
from hypothesis import strategies as st

from icflow.config import AtomicData
from icflow.errors import IcflowError
from icflow.models import apart, library
from icflow.typing import Floats

EDGES = np.geomspace(0.1, 100.0, 101)
# What has no limits is mostly a switch.
ANY = st.sampled_from([-1.0, 0.0, 1.0, 2.0, 7.0, 1e3])
# Those of plasmas take seconds a call, and have been called more than all others.
NAMES = sorted(library.STEADY - library.READ_ATOMDB)


def within(parameter: library.Parameter) -> st.SearchStrategy[float]:
    """Return where a parameter may be: at its default and its limits most often."""
    ends = [end for end in (parameter.minimum, parameter.maximum) if math.isfinite(end)]
    anywhere = st.floats(*ends) if len(ends) == 2 else ANY
    return st.one_of(st.just(parameter.default), st.sampled_from(ends) if ends else ANY, anywhere)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Floats]:
    name = draw(st.sampled_from(NAMES))
    parameters = library.definitions()[name].parameters
    return name, np.array([*(draw(within(parameter)) for parameter in parameters), 0.0])


@pytest.fixture(scope="module")
def child() -> Iterator[apart.Apart]:
    child = apart.Apart(AtomicData())
    yield child
    child.stop()


@given(call=calls())
def test_the_process_goes_on(child: apart.Apart, call: tuple[str, Floats]) -> None:
    name, values = call
    OUTCOMES["models called"] += 1
    try:
        child.evaluate(name, EDGES, values, f"{name} at {values.tolist()}")
    except IcflowError as error:
        pytest.fail(f"{error}: take {name} out of library.STEADY")
