"""What a network is computed on: threads, memory, a GPU."""

from __future__ import annotations

import ctypes
import os

import torch

from icflow.errors import IcflowError


def prepare(threads: int) -> None:
    """Set up this process for training: threads, determinism, memory."""
    torch.set_num_threads(threads)
    # cuBLAS is deterministic with this; it must be set before the first use of a GPU.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # As `torch.use_deterministic_algorithms` does, which imports the compiler for a second first.
    torch.set_deterministic_debug_mode("error")
    # Filling every new tensor with NaN first helps to find bugs only.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Ask the C library to reuse freed memory instead of giving it back.

    Each step allocates some gigabytes in blocks of 10 MB. glibc maps such blocks
    afresh every time, and the kernel's clearing of their pages then costs up to a
    third of the step. Other C libraries have no such switch and are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mmap_max, trim_threshold, top_pad = -4, -1, -2  # from malloc.h
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 2**26)


def choose_device(name: str) -> torch.device:
    """Return the device that `autoencoder.training.device` means.

    Raises
    ------
    IcflowError
        If a GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise IcflowError(
            "autoencoder.training.device is 'cuda', but torch finds no GPU; use auto or cpu"
        )
    return torch.device(name)


def device_name() -> str:
    """Return the name of the GPU that torch finds, ``none`` without."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
