"""Where compiled functions are kept, and how they are loaded; `icflow.compiled` makes them.

They are kept in the user's cache under the content of their source: every
clone, installation and project of the same code shares them, and versions lie side by side.
An edit of a function compiles it anew, and its callers, wherever they stand; one process
compiles, others that need the same function wait.

Loading takes a few milliseconds a function, as it leaves out what numba does beside it: it imports
all that it can compile, compiles its own memory management, and reads the code that other functions
would be compiled with. All of that comes once something has to be compiled. This needs parts of
numba that are not public, so ``pyproject.toml`` names the versions that are known to have them.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, partial
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from io import BytesIO
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, cast

import llvmlite.binding as llvm
import numba
import numpy as np
import scipy
from numba.core.caching import (
    CompileResultCacheImpl,
    FunctionCache,
    IndexDataCacheFile,
    _CacheLocator,
)
from numba.core.dispatcher import Dispatcher
from numba.core.environment import Environment, _rebuild_env
from numba.core.runtime import _nrt_python  # type: ignore[attr-defined]

from icflow.files import process_lock
from icflow.folders import cache_folder

# Characters of the SHA-256 of a source that make the name of what is compiled from it.
_DIGEST = 16
# Bytes of the checksum behind machine code, which damaged would end the process or count wrong.
_CHECKSUM = 4
# What reading of damaged files raises, and of types that now are elsewhere, or nowhere.
_UNREADABLE = (
    pickle.UnpicklingError, EOFError, ValueError, IndexError, AttributeError, ImportError
)  # fmt: skip


def compiled_folder() -> Path:
    """Return the folder of compiled functions: NUMBA_CACHE_DIR, else below the user's cache."""
    given = cast(Any, numba.config).CACHE_DIR
    return Path(given) if given else cache_folder() / "compiled"


@cache
def fingerprint(function: FunctionType) -> str:
    """Return the SHA-256 of what a function computes, with all that it calls.

    Code counts, and the constants of its module that it reads; comments do not.
    """
    digest = hashlib.sha256()
    for value in _parts(function.__code__, function.__globals__):
        digest.update(_text(value).encode() + b"\0")
    return digest.hexdigest()


def _parts(code: CodeType, names: dict[str, Any]) -> Iterator[Any]:
    yield code.co_code.hex()
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _parts(value, names)
        else:
            yield value
    for name in code.co_names:
        yield name
        yield names.get(name)


def _text(value: Any) -> str:
    if isinstance(value, Dispatcher):
        return fingerprint(value.py_func)
    if isinstance(value, np.ndarray):
        return str(value.tobytes().hex())
    if isinstance(value, int | float | str | tuple):
        return repr(value)
    return repr(getattr(value, "_fields", None))


@cache
def _source(file: str) -> bytes:
    return hashlib.sha256(Path(file).read_bytes()).digest()


class _Place(_CacheLocator):
    """Where the machine code of a function lies: not by its path, but by its source's content."""

    def __init__(self, function: FunctionType, file: str) -> None:
        self._stamp = _source(file)
        self._line = function.__code__.co_firstlineno

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> _Place:
        """Return the place of a function."""
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        """Return the folder."""
        return str(compiled_folder())

    def get_source_stamp(self) -> bytes:
        """Return what the machine code belongs to."""
        return self._stamp

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name apart."""
        return f"{self._line}-{self._stamp.hex()[:_DIGEST]}"


class _Results(CompileResultCacheImpl):
    _locator_classes = [_Place]  # noqa: RUF012 (numba's own declaration)

    def rebuild(self, target_context: Any, payload: Any) -> Any:
        """Return a function from its machine code; its bitcode is read if another needs it."""
        (name, kind, (machine_code, bitcode)), described, *others = payload
        # What numba knows of the bitcode besides: which names can be called.
        target_context.codegen()._engine._defined_symbols |= {
            described.llvm_func_name,
            described.llvm_cpython_wrapper_name,
            described.llvm_cfunc_wrapper_name,
        }
        library = name, kind, (machine_code, _no_bitcode())
        result = super().rebuild(target_context, (library, described, *others))  # type: ignore[no-untyped-call]
        result.library._get_module_for_linking = cache(partial(llvm.parse_bitcode, bitcode))
        return result


@cache
def _no_bitcode() -> bytes:
    return cast(bytes, llvm.parse_assembly("").as_bitcode())


class _Unpickler(pickle.Unpickler):
    """Reads machine code without importing the modules that its functions were written in."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what a pickle names."""
        if (module, name) == (_rebuild_env.__module__, _rebuild_env.__name__):
            return _environment
        return super().find_class(module, name)


def _environment(module: str, constants: list[Any], name: str) -> Environment:
    """Return the environment of a function: its constants; the module's names are not looked at."""
    if module in sys.modules or name in Environment._memo:
        return cast(Environment, _rebuild_env(module, constants, name))  # type: ignore[no-untyped-call]
    environment = Environment({"__name__": module})
    environment.consts[:] = constants
    environment.env_name = name
    Environment._memo[name] = environment
    return environment


class _Files(IndexDataCacheFile):
    def _save_data(self, name: str, data: Any) -> None:
        content = self._dump(data)  # type: ignore[no-untyped-call]
        with self._open_for_write(self._data_path(name)) as file:  # type: ignore[no-untyped-call]
            file.write(content + _checksum(content))

    def _load_data(self, name: str) -> Any:
        kept = Path(self._data_path(name)).read_bytes()  # type: ignore[no-untyped-call]
        content = kept[:-_CHECKSUM]
        if _checksum(content) != kept[-_CHECKSUM:]:
            raise ValueError(f"{name}: damaged, or of a version without checksums")
        return _Unpickler(BytesIO(content)).load()


def _checksum(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(_CHECKSUM, "little")


class Kernels(FunctionCache):
    """The machine code of a function on disk, by argument types."""

    _impl_class = _Results
    lock: Any = None

    def __init__(self, function: FunctionType) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]
        name, stamp = self._impl.filename_base, self._impl.locator.get_source_stamp()
        self._cache_file = _Files(self._cache_path, name, stamp)  # type: ignore[no-untyped-call]

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        # numba itself looks at nothing but the file that the function stands in.
        key = super()._index_key(sig, codegen)  # type: ignore[no-untyped-call]
        return (*key, fingerprint(self._py_func))

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code, where the folder can be written."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code; None if this process has to make it, while others wait."""
        kernel = self._load(sig, target_context)
        if kernel is None:
            with suppress(OSError):  # a file system without locks
                lock = process_lock(f"{self.cache_path}/{self._impl.filename_base}.lock")
                lock.acquire()
                self.lock = lock
            kernel = self._load(sig, target_context)
        return kernel

    def _load(self, sig: Any, target_context: Any) -> Any:
        """Return the machine code that is kept; None if there is none that can be read."""
        try:
            return self._load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except OSError:
            return None
        except _UNREADABLE:
            with suppress(OSError):  # a folder that cannot be written
                self.flush()  # type: ignore[no-untyped-call]
            return None

    def release(self) -> None:
        """Let the others go on, whether or not the machine code could be made."""
        if self.lock is not None:
            Path(self.lock.lock_file).unlink(missing_ok=True)
            self.lock.release()
            self.lock = None


def tell_where() -> None:
    """Tell the linker where that lies which machine code calls: memory, and algebra.

    numba would tell the former after compiling what it does with memory itself, which all machine
    code has in it; and import scipy.linalg, which takes longer than many a job, for the latter.
    At once, so that whoever limits threads limits those of the algebra too.
    """
    for name, address in _nrt_python.c_helpers.items():
        llvm.add_symbol(name if name.startswith("_") else f"NRT_{name}", address)
    for name in ("scipy.linalg.cython_blas", "scipy.linalg.cython_lapack"):
        spec = PathFinder.find_spec(name, [f"{path}/linalg" for path in scipy.__path__])
        if name not in sys.modules and spec and spec.loader:
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
