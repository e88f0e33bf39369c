"""How functions that loop are compiled, by numba; `function.py_func` is the plain Python twin.

Every compiled function is put whole into those that call it. Otherwise one
of several copies, each optimised next to its caller, is taken by the name that
they share: which one depends on what was compiled or loaded first, and sums in
another order differ in their last digits. A rerun has to give the same bytes.

So every call is a copy, and the time that a function takes to compile goes by its size with all
of these: large ones are called in few places, with arrays that lie in one order, and whatever
numpy does to whole arrays is a loop where it can be (`put`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import Any, TypeVar, cast

from numba import njit

from icflow.kernels import Kernels, tell_where
from icflow.typing import Floats

tell_where()

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiler(**options: Any) -> Callable[[Function], Function]:
    """Return a decorator that compiles functions, each when it is first called."""
    decorate = njit(forceinline=True, nogil=True, **options)

    def compiled(function: Function) -> Function:
        dispatcher: Any = decorate(function)
        dispatcher._cache = kernels = Kernels(cast(FunctionType, function))
        # Packages that add types to numba are looked for, in all that are installed, at each start.
        dispatcher._compilation_chain_init_hook = lambda: None
        compile_ = dispatcher.compile

        @wraps(compile_)
        def compile_once(signature: Any) -> Any:
            try:
                return compile_(signature)
            finally:
                kernels.release()

        dispatcher.compile = compile_once
        return cast(Function, dispatcher)

    return compiled


# Sums may be taken in any order: several numbers at a time.
_ANY_ORDER: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz"},
    "error_model": "numpy",
}
jit = _compiler(**_ANY_ORDER)

# The same for parts of larger functions: compiled with these alone, not for themselves before.
inner = _compiler(**_ANY_ORDER, inline="always")

# As written: in order, and a division by zero raises.
strict = _compiler()


@jit
def put(target: Floats, values: Floats) -> None:
    """Set ``target[:] = values``, both of one dimension, in a tenth of the code that this makes."""
    for i in range(len(target)):
        target[i] = values[i]
