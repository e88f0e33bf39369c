"""Values that both configuration and commands fall back on."""

from __future__ import annotations

# Limits of the factors between the first of several modules and the others.
CROSS_NORMALISATION = (0.8, 1.25)
