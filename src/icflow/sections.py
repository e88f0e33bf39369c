"""What sections of settings are made of: strict subtrees, numbers, intervals."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from icflow.files import canonical_json


class Section(BaseModel):
    """A subtree of the configuration: typed strictly, no unknown keys, no changes.

    What checks it is made when it is first needed: a job has few of them.
    """

    model_config = ConfigDict(defer_build=True, extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        """Name unknown keys together with the allowed ones, which `extra` alone does not."""
        if isinstance(value, Mapping):
            unknown = [str(key) for key in value if key not in cls.model_fields]
            if unknown:
                allowed = list(cls.model_fields)
                raise PydanticCustomError(
                    "unknown_keys", "unknown key", {"unknown": unknown, "allowed": allowed}
                )
        return value

    def json_text(self) -> str:
        """Return this subtree as canonical JSON (sorted keys, no white space)."""
        return canonical_json(self.model_dump(mode="json", exclude_none=True))


NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{,99}")


def check_name(name: str, subject: str = "a name") -> str:
    """Return a name that files may be named after, wherever it was read.

    Raises
    ------
    ValueError
        If it could lead out of its folder, hide a file or be refused by a file
        system; `subject` begins the sentence.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{subject} may hold letters, digits and + . _ - only, 100 at most and one of the "
            "first two in front, because files are named after them"
        )
    return name


def _finite(value: Any) -> Any:
    """Refuse a number written so that YAML reads it as text, with the way to write it."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value
        raise ValueError(
            f"is {value!r}, which YAML reads as text; write the number with a decimal point, 1.0e-3"
        )
    return value


def _known(value: Any) -> Any:
    """Refuse what is not a number in the place of something measured."""
    infinite = isinstance(value, float) and not math.isfinite(value)
    if infinite or str(value).strip(".+-").lower() in ("nan", "inf"):
        raise ValueError(f"is {value}, not a finite number; give the measured value")
    return value


# More spectra, starts, iterations … than any run has; units of layers; resolution of bitmaps.
MOST, WIDEST, FINEST = 10**7, 10_000, 2400
Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_finite)]
# The last validator is asked first.
Measured = Annotated[float, BeforeValidator(_finite), BeforeValidator(_known)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_finite)]
Fraction = Annotated[float, Field(gt=0, lt=1), BeforeValidator(_finite)]


def _increasing(interval: list[float]) -> list[float]:
    if interval[0] >= interval[1]:
        raise ValueError(f"is {interval}; the first number must be below the second")
    return interval


def _not_negative(interval: list[float]) -> list[float]:
    if interval[0] < 0:
        raise ValueError(f"is {interval}; energies are not negative")
    return interval


def _of_factors(interval: list[float]) -> list[float]:
    if interval[0] <= 0:
        raise ValueError(f"is {interval}; factors are positive")
    return interval


Interval = Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_increasing)]
Energies = Annotated[Interval, AfterValidator(_not_negative)]
# Limits of the factors between the spectra of several modules.
Factors = Annotated[Interval, AfterValidator(_of_factors)]


Settings = TypeVar("Settings", bound=Section)


def listed(value: str | list[str] | None) -> list[str]:
    """Return the names that a key gives, which may hold one, several or none."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else value
