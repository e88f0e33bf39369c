"""What varies in a term of a model, and between which limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from icflow.config import Free, Link
from icflow.models.expression import Term
from icflow.models.priors import Prior
from icflow.models.scenario import Setting

Settings = Mapping[str, Setting]

# The model that has tables of its own, and its shape parameters.
APEC = "apec"
KT, ABUNDANCE, REDSHIFT = "kT", "Abundanc", "Redshift"


def norm_of(term: Term) -> str:
    """Return the name of the norm of a term."""
    return f"{term.additive.name}.norm"


def plasma_parameters(term: Term) -> tuple[str, str, str]:
    """Return the names of temperature, abundance and redshift of a plasma."""
    kT, abundance, redshift = (f"{term.additive.name}.{n}" for n in (KT, ABUNDANCE, REDSHIFT))
    return kT, abundance, redshift


def root(name: str, settings: Settings) -> Setting:
    """Return the setting of a parameter, or of the one it is linked to."""
    setting = settings[name]
    return settings[setting.link] if isinstance(setting, Link) else setting


def shape_parameters(term: Term) -> list[str]:
    """Return the names of all parameters of a term but its norm."""
    return [
        name
        for component in (*term.factors, term.additive)
        for name in component.parameters
        if not name.endswith(".norm")
    ]


def varying(term: Term, settings: Settings) -> list[str]:
    """Return the shape parameters of a term that are free or drawn."""
    return [n for n in shape_parameters(term) if isinstance(root(n, settings), (Free, Prior))]


def is_plasma(term: Term, settings: Settings) -> bool:
    """Tell whether a term has a plasma table: `apec`, with nothing that varies in front of it."""
    own = f"{term.additive.name}."
    return term.additive.definition.name == APEC and all(
        name.startswith(own) for name in varying(term, settings)
    )


def untabled(term: Term, settings: Settings) -> list[str]:
    """Return what would have to be fixed for a table to hold a term: nothing where one does.

    Whether a term is smooth enough along its one shape parameter is found when it is folded.
    """
    free = varying(term, settings)
    if len(free) < 2 or is_plasma(term, settings):
        return []
    own = f"{term.additive.name}."
    return [name for name in free if not name.startswith(own)] or free[1:]


def fixed_values(term: Term, settings: Settings) -> dict[str, float]:
    """Return the fixed parameters of a term."""
    names = [n for c in (*term.factors, term.additive) for n in c.parameters]
    roots = {name: root(name, settings) for name in names}
    return {name: float(value) for name, value in roots.items() if isinstance(value, (int, float))}


def bounds(name: str, settings: Settings) -> tuple[float, float]:
    """Return the range of a parameter; both ends are its value if it is fixed."""
    return bounds_of(root(name, settings))


def bounds_of(setting: Setting) -> tuple[float, float]:
    """Return the range of what is free, drawn or fixed."""
    if isinstance(setting, Free):
        return setting.free[0], setting.free[1]
    if isinstance(setting, Prior):
        return setting.bounds
    assert isinstance(setting, (int, float))
    return float(setting), float(setting)


def all_temperatures(terms: Sequence[Term], settings: Settings) -> tuple[float, float]:
    """Return the range of kT over all plasmas of a model, keV."""
    ranges = [
        bounds(plasma_parameters(term)[0], settings) for term in terms if is_plasma(term, settings)
    ]
    return min(low for low, _ in ranges), max(high for _, high in ranges)
