"""Stage: the fits that label training spectra for the latents of the networks."""

from __future__ import annotations

from icflow.stages.baseline import run

__all__ = ["run"]
