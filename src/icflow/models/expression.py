"""Expressions of XSPEC models: parsing, names, expansion into a sum of terms.

``tbabs*(apec+apec)`` has the components ``TBabs``, ``apec``, ``apec_3``, as
PyXspec names them, and the terms ``TBabs*apec`` and ``TBabs*apec_3``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from icflow.errors import IcflowError
from icflow.models.library import (
    ADDITIVE,
    MULTIPLICATIVE,
    NORM,
    Definition,
    Parameter,
    definitions,
    missing_data,
    reads_atomdb,
)

# What XSPEC's users write for models whose names are no longer the only ones that start so.
SHORT = {
    "bb": "bbody",
    "bkn": "bknpower",
    "bknp": "bknpower",
    "co": "constant",
    "ga": "gaussian",
    "lor": "lorentz",
    "po": "powerlaw",
    "tb": "tbabs",
    "zga": "zgauss",
}

# Names, signs and brackets of an expression at most: it is read, and multiplied out, by recursion.
MOST = 250
TOKEN = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*|[()*+])")


@dataclass(frozen=True)
class Component:
    """One model of an expression under the name that PyXspec gives it."""

    name: str
    definition: Definition

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Full name (``apec_3.kT``) and declaration of each parameter, the norm last."""
        declared = {f"{self.name}.{p.name}": p for p in self.definition.parameters}
        if self.definition.kind == ADDITIVE:
            declared[f"{self.name}.norm"] = NORM
        return declared


@dataclass(frozen=True)
class Term:
    """An additive component and the multiplicative ones in front of it."""

    additive: Component
    factors: tuple[Component, ...]

    @property
    def name(self) -> str:
        """Such as ``TBabs*apec_3``."""
        return "*".join(component.name for component in (*self.factors, self.additive))


@dataclass(frozen=True)
class Expression:
    """A parsed expression."""

    text: str
    components: tuple[Component, ...]
    terms: tuple[Term, ...]

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every parameter of the model in XSPEC's order."""
        return {
            name: declared
            for component in self.components
            for name, declared in component.parameters.items()
        }

    @property
    def reads_atomdb(self) -> bool:
        """Whether any of its components reads the tables of AtomDB."""
        return any(reads_atomdb(component.definition) for component in self.components)


# A product of a partial expansion: positions of its components.
_Product = tuple[int, ...]


@cache
def parse(text: str) -> Expression:
    """Parse an XSPEC model expression of additive and multiplicative models.

    Names may be in any case and shortened as far as they stay unique, or are among `SHORT`; a
    product sign before or after a bracket may be left out, as in XSPEC.

    Raises
    ------
    IcflowError
        If the syntax is wrong, a model is unknown or of a kind that cannot be
        folded term by term (convolution, mixing), or a term does not hold
        exactly one additive model.
    """
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self._tokens()
        self.position = 0
        self.definitions: list[Definition] = []

    def _tokens(self) -> list[str]:
        tokens: list[str] = []
        rest = self.text.rstrip()
        while rest:
            match = TOKEN.match(rest)
            if match is None:
                raise self._error(f"{rest.strip()[0]!r} is not allowed in a model expression")
            tokens.append(match.group(1))
            rest = rest[match.end() :]
        if len(tokens) > MOST:
            raise self._error(f"of {len(tokens)} names and signs, expected at most {MOST}")
        return tokens

    def _error(self, message: str) -> IcflowError:
        text = self.text if len(self.text) < 200 else f"{self.text[:200]}..."
        return IcflowError(f"expression {text!r}: {message}")

    def _peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self.position += 1
        return token

    def parse(self) -> Expression:
        products = self._sum()
        if self._peek():
            raise self._error(f"unexpected {self._peek()!r}")
        components = self._named()
        terms = tuple(self._term(product, components) for product in products)
        return Expression(self.text, components, terms)

    def _sum(self) -> list[_Product]:
        products = self._product()
        while self._peek() == "+":
            self._take()
            products = products + self._product()
        return products

    def _product(self) -> list[_Product]:
        products = self._factor()
        while self._peek() in ("*", "(") or self._peek()[:1].isalpha():
            if self._peek() == "*":
                self._take()
            products = [left + right for right in self._factor() for left in products]
            if len(products) > MOST:
                raise self._error(f"its brackets multiply to more than {MOST} terms")
        return products

    def _factor(self) -> list[_Product]:
        word = self._take()
        if word == "(":
            products = self._sum()
            if self._take() != ")":
                raise self._error("a closing bracket is missing")
            return products
        if not word[:1].isalpha():
            raise self._error(f"a model name is expected, found {word or 'the end'!r}")
        self.definitions.append(self._definition(word))
        return [(len(self.definitions) - 1,)]

    def _definition(self, name: str) -> Definition:
        declared = definitions()
        start = SHORT.get(name.lower(), name.lower())
        offered = [key for key in declared if key not in missing_data()]
        matches = [start] if start in declared else [k for k in offered if k.startswith(start)]
        if len(matches) != 1:
            choice = ", ".join(sorted(matches)[:8])
            reason = f"it could be {choice}" if matches else "no such XSPEC model; correct it"
            raise self._error(f"unknown model {name!r}: {reason}")
        definition = declared[matches[0]]
        if definition.kind not in (ADDITIVE, MULTIPLICATIVE):
            raise self._error(
                f"{definition.name} is a model of kind {definition.kind!r}; "
                "only additive and multiplicative models are supported by the embedded engine"
            )
        return definition

    def _named(self) -> tuple[Component, ...]:
        """Name components as PyXspec does: a repeated name gets its position appended."""
        names: list[str] = []
        for position, definition in enumerate(self.definitions, start=1):
            name = definition.name
            names.append(f"{name}_{position}" if name in names else name)
        return tuple(map(Component, names, self.definitions))

    def _term(self, product: _Product, components: tuple[Component, ...]) -> Term:
        members = [components[position] for position in product]
        additive = [c for c in members if c.definition.kind == ADDITIVE]
        if len(additive) != 1:
            names = "*".join(c.name for c in members)
            raise self._error(
                f"the term {names} holds {len(additive)} additive models; it needs exactly one"
            )
        factors = tuple(c for c in members if c.definition.kind == MULTIPLICATIVE)
        return Term(additive[0], factors)
