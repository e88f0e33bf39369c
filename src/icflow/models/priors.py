"""Priors: how parameters are drawn, and what evidences are averaged over.

A shape is a subclass of `Prior` with one field, the key that the configuration
writes it with, its `bounds` and its `quantile`. Drawing and integrating need
no more, so a new shape is one class here and nothing elsewhere.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from icflow.sections import Interval, Section
from icflow.typing import Floats

# Shapes by their key.
SHAPES: dict[str, type[Prior]] = {}

# NumPy's exponential may differ in the last digit from one processor to another.
_exp = np.frompyfunc(math.exp, 1, 1)


class Prior(Section):
    """How a parameter is drawn: exactly one of the shapes.

    Attributes
    ----------
    form : str
        How the value of its key is written.
    flat : bool
        Whether the density is the same between the bounds.
    """

    form: ClassVar[str]
    flat: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Enter a shape into the registry under its key."""
        super().__pydantic_init_subclass__(**kwargs)
        (key,) = cls.model_fields
        SHAPES[key] = cls

    @property
    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value that the prior can give, both finite."""

    @abstractmethod
    def quantile(self, probability: float | Floats) -> Floats:
        """Return the values below which the prior holds probabilities, in their shape."""

    @property
    def words(self) -> str:
        """Its shape and bounds, for captions: ``0.1–1``, ``log-uniform 0.1–1``."""
        low, high = self.bounds
        (shape,) = type(self).model_fields
        return f"{shape.replace('_', '-')} " * (not self.flat) + f"{low:g}–{high:g}"

    def probability(self, value: float) -> float:
        """Return the probability of a lower value: the inverse of `quantile`, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(53):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.quantile(middle) < value else (low, middle)
        return 0.5 * (low + high)

    def slope(self, value: float) -> float:
        """Return one over the density at a value: how fast `quantile` rises there."""
        middle, step = self.probability(value), 1e-5
        low, high = max(middle - step, 0.0), min(middle + step, 1.0)
        return float(self.quantile(high) - self.quantile(low)) / (high - low)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read `Prior` itself as whichever shape is given; a shape as any section."""
        if cls.__base__ is not Section or not SHAPES:
            return handler(source)
        choices = {f"<{key}>": handler.generate_schema(shape) for key, shape in SHAPES.items()}
        union = core_schema.tagged_union_schema(choices, discriminator=_tag)
        return core_schema.no_info_before_validator_function(_given, union)


def forms() -> str:
    """Return how the shapes are written, for the reference of the configuration."""
    *others, last = (f"`{{{key}: {shape.form}}}`" for key, shape in SHAPES.items())
    return f"{', '.join(others)} or {last}"


def _given(value: Any) -> Any:
    """Leave out keys without a value, which take a shape away in a file laid over another.

    Raises
    ------
    ValueError
        If the others are not the key of one shape.
    """
    if not isinstance(value, Mapping):
        return value
    unknown = [str(key) for key in value if key not in SHAPES]
    if unknown:
        raise PydanticCustomError(
            "unknown_keys", "unknown key", {"unknown": unknown, "allowed": list(SHAPES)}
        )
    given = {key: form for key, form in value.items() if form is not None}
    if len(given) != 1:
        raise ValueError(
            "give a number, {link: another parameter}, or exactly one of "
            + ", ".join(f"{{{key}: {shape.form}}}" for key, shape in SHAPES.items())
        )
    return given


def _tag(value: Any) -> str | None:
    """Tell which shape a value is meant to be."""
    keys = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
    return next((f"<{key}>" for key in keys), None)


class Uniform(Prior):
    """All values between two are equally likely."""

    form, flat = "[low, high]", True
    uniform: Interval = Field(description="lowest and highest value, equally likely")

    @property
    def bounds(self) -> tuple[float, float]:
        """The two values."""
        low, high = self.uniform
        return low, high

    def quantile(self, probability: float | Floats) -> Floats:
        """Return the value at a fraction of the way."""
        low, high = self.uniform
        return np.asarray(low + probability * (high - low))

    def probability(self, value: float) -> float:
        """Return the fraction of the way to a value."""
        low, high = self.uniform
        return (value - low) / (high - low)

    def slope(self, value: float) -> float:
        """Return how far the two are apart."""
        low, high = self.uniform
        return high - low


def _positive(interval: list[float]) -> list[float]:
    if interval[0] <= 0:
        raise ValueError(f"is {interval}; its bounds must be positive")
    return interval


class LogUniform(Prior):
    """All logarithms between those of two values are equally likely."""

    form = "[low, high]"
    log_uniform: Annotated[Interval, AfterValidator(_positive)] = Field(
        description="lowest and highest value, equally likely in the logarithm"
    )

    @property
    def bounds(self) -> tuple[float, float]:
        """The two values."""
        low, high = self.log_uniform
        return low, high

    def quantile(self, probability: float | Floats) -> Floats:
        """Return the value at a fraction of the way between the logarithms."""
        low, high = map(math.log, self.log_uniform)
        return np.asarray(_exp(low + probability * (high - low)), dtype=np.float64)

    def probability(self, value: float) -> float:
        """Return the fraction of the way between the logarithms to that of a value."""
        low, high = self.log_uniform
        return math.log(value / low) / math.log(high / low)

    def slope(self, value: float) -> float:
        """Return how fast the value rises there."""
        low, high = self.log_uniform
        return value * math.log(high / low)
