"""What compiles functions: whole in their callers, and what stands in for numpy's assignments."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
from numba.core.dispatcher import Dispatcher

import icflow
from icflow.compiled import put


def test_compiled_functions_are_put_into_their_callers() -> None:
    names = [module.name for module in pkgutil.walk_packages(icflow.__path__, "icflow.")]
    functions = [
        value
        for name in names
        if not name.startswith("icflow.engines.xspec") and not name.endswith("__main__")
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, Dispatcher)
    ]
    assert len(functions) > 40
    for function in functions:
        assert function.targetoptions["forceinline"], function.py_func


def test_values_are_put_into_parts_of_an_array() -> None:
    table = np.zeros((3, 4))
    put(table[:, 1], np.arange(3.0))
    put(table[2, :2], np.array([5.0, 6.0]))
    assert table.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [5, 6, 0, 0]]
