"""Every compiled function stands whole in its callers, so that results do not depend on caches."""

from __future__ import annotations

import importlib
import pkgutil

from numba.core.dispatcher import Dispatcher

import icflow


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
