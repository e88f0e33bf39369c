"""XSPEC's save files (``save all NAME.xcm``): spectra, responses and the models of every source.

What a save file holds is what PyXspec's ``Xset.save`` and XSPEC 12's ``save all`` write. After
``model 3:name expression`` stands a line for each parameter, first all of the lowest data group,
then all of the next: value, step and four limits, the value of a switch alone, or a link,
``= name:p7*0.671``, in which parameters are counted over all data groups. Links of the unnamed
model of source 1 have no name.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from icflow.errors import IcflowError
from icflow.files import reading
from icflow.models.expression import Expression, parse
from icflow.models.scenario import complete
from icflow.ogip.names import beside

# Statements that change nothing of what the models predict, and those that are read.
WITHOUT_EFFECT = (
    *("statistic", "method", "systematic", "notice", "bayes", "query", "weight"),
    *("log", "chatter", "parallel", "cosmo", "setplot", "cpd", "corfile", "cornorm"),
    *("lmod", "show", "fit", "xset"),
)
SETTINGS = ("abund", "xsect")
# What icflow says where it has fitted in other bins than those of the files, which XSPEC takes.
OWN_BINS = "fitted in bins of at least {} counts, which are not those of the file"
AGAIN = "load it in XSPEC and write it again with `save all NAME.xcm`"

PLACE = re.compile(r"(?:(\d+):)?(\d+)")
MODEL = re.compile(r"model\s+(?:(\d+):(\w+)\s+)?(.+)")
_OWN_BINS = re.compile("# " + OWN_BINS.format(r"(\d+)"))
REFERENCE = re.compile(r"(?:(\w+):)?\bp(\d+)\b")
PARAMETER = re.compile(r"=|[-+.\d]")
# Value, step, hard and soft lower limit, soft and hard upper limit; of a switch the value alone.
NUMBERS = 6

_OPERATORS: dict[type, Callable[..., float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


@dataclass
class SavedSpectrum:
    """A spectrum, and what was set for it by hand, by number of the source.

    Attributes
    ----------
    responses, areas : dict of int to str
        File names as they are written, ``none`` for none; what the header of the spectrum
        names for source 1 is not among them.
    background : str or None
        Its background spectrum as written, ``none`` for none; None if it was not set by hand.
    ignored : list of str
        Ranges of channels or energies as they are written.
    """

    name: str
    group: int
    responses: dict[int, str] = field(default_factory=dict)
    areas: dict[int, str] = field(default_factory=dict)
    background: str | None = None
    ignored: list[str] = field(default_factory=list)


@dataclass
class SavedModel:
    """The model of one source.

    Attributes
    ----------
    name : str
        Empty for the unnamed one of source 1.
    line : int
        Where its statement stands.
    parameters : list of float or str
        Values, or links as written, of all data groups one after another.
    limits : list of tuple of float, or None
        Soft limits of each of them; None where it is linked, or frozen by a step that is not
        positive.
    switches : set of int
        Positions in `parameters` of those that stand without step and limits.
    """

    source: int
    name: str
    expression: str
    line: int
    parameters: list[float | str] = field(default_factory=list)
    limits: list[tuple[float, float] | None] = field(default_factory=list)
    switches: set[int] = field(default_factory=set)


@dataclass
class SaveFile:
    """What a save file holds.

    Attributes
    ----------
    spectra : dict of int to SavedSpectrum
        By number.
    models : dict of str to SavedModel
        By name.
    settings : dict of str to str
        ``abund`` and ``xsect``.
    group_min : int or None
        Least counts in the bins that icflow has fitted; None for those of the files.
    """

    path: Path
    spectra: dict[int, SavedSpectrum] = field(default_factory=dict)
    models: dict[str, SavedModel] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    group_min: int | None = None

    def find(self, name: str) -> Path:
        """Return where a file is that the save file names: beside it, here, or as written.

        Raises
        ------
        IcflowError
            If it is in none of these places.
        """
        path = beside(self.path, name)
        if path is None:
            raise IcflowError(
                f"{self.path}: names {name}, which is neither beside it nor here; copy the file "
                "there"
            )
        return path

    def values(self, model: SavedModel, group: int) -> tuple[Expression, dict[str, float]]:
        """Return the expression of a model, and its parameters in one data group, links resolved.

        Raises
        ------
        IcflowError
            If the model library lacks a component, the number of parameters is not that of
            the expression, a link cannot be followed, or a value is outside XSPEC's hard limits.
        """
        where = f"{self.path}: line {model.line}"
        try:
            expression = parse(model.expression)
        except IcflowError as error:
            raise IcflowError(f"{where}: {error}") from None
        names, groups = list(expression.parameters), self.groups(model)
        if len(model.parameters) != len(names) * len(groups):
            raise IcflowError(
                f"{where}: {model.expression!r} has {len(names)} parameters in each of "
                f"{len(groups)} data groups, but {len(model.parameters)} lines of parameters "
                f"follow: the file is not whole, or of another version of XSPEC; {AGAIN}"
            )
        for position in model.switches:
            name = names[position % len(names)]
            if not expression.parameters[name].switch:
                raise IcflowError(
                    f"{where}: {name} has neither step nor limits, which switches alone have not: "
                    f"the file is not whole; {AGAIN}"
                )
        first = groups.index(group) * len(names)
        values = {
            name: self._value(model, first + number, ())
            for number, name in enumerate(names, start=1)
        }
        complete(expression, values, f"{where}: model {model.name}".rstrip())
        return expression, values

    def groups(self, model: SavedModel) -> list[int]:
        """Return the data groups that have parameters in a model: those with its response."""
        return sorted(
            {
                spectrum.group
                for spectrum in self.spectra.values()
                if model.source == 1 or _given(spectrum.responses.get(model.source))
            }
        )

    def links(self, model: SavedModel) -> dict[int, int]:
        """Return which parameters of the lowest data group equal which, by number from 0.

        Raises
        ------
        IcflowError
            If a link is more than a parameter of the same model.
        """
        links = {}
        size = len(parse(model.expression).parameters)
        for number, setting in enumerate(model.parameters[:size]):
            if isinstance(setting, str):
                match = REFERENCE.fullmatch(setting.strip())
                if match is None or match[1] or not 1 <= int(match[2]) <= size:
                    raise IcflowError(
                        f"{self.path}: the link `= {setting}` of p{number + 1} is not another "
                        "parameter alone; untie it in XSPEC, or write the model anew"
                    )
                links[number] = int(match[2]) - 1
        return links

    def without_model(self) -> list[int]:
        """Return the sources that have a response and no model."""
        responses = [s.responses.items() for s in self.spectra.values()]
        sources = {source for items in responses for source, name in items if _given(name)}
        return sorted(sources - {1} - {model.source for model in self.models.values()})

    def _value(self, model: SavedModel, number: int, before: Sequence[str]) -> float:
        """Return a parameter by its number over all data groups, following links."""
        name = f"{model.name}:p{number}".lstrip(":")
        if not 1 <= number <= len(model.parameters):
            raise IcflowError(f"{self.path}: a link leads to {name}, which there is not; {AGAIN}")
        setting = model.parameters[number - 1]
        if isinstance(setting, float):
            return setting
        if name in before:
            raise IcflowError(f"{self.path}: the link of {name} leads back to it; {AGAIN}")

        def value(match: re.Match[str]) -> str:
            target = self._named(match[1] or "", name)
            return f"({self._value(target, int(match[2]), [*before, name])!r})"

        text, references = REFERENCE.subn(value, setting)
        try:
            if not references:
                raise ValueError
            return _arithmetic(ast.parse(text.replace("^", "**").strip(), mode="eval").body)
        except (SyntaxError, ValueError, ArithmeticError, TypeError, RecursionError):
            raise IcflowError(
                f"{self.path}: the link `= {setting}` of {name} cannot be read; sums, products "
                f"and powers of parameters and numbers can; {AGAIN}"
            ) from None

    def _named(self, word: str, link: str) -> SavedModel:
        for name, model in self.models.items():
            if word == name or word == str(model.source):
                return model
        raise IcflowError(
            f"{self.path}: {link} is linked to a parameter of the model {word or 'of source 1'}, "
            f"which the file does not hold; {AGAIN}"
        )


def _given(name: str | None) -> bool:
    return name is not None and name.lower() != "none"


def _arithmetic(node: ast.expr) -> float:
    """Return the value of a parsed sum, product or power of numbers."""
    match node:
        case ast.Constant(value=int() | float() as number) if math.isfinite(number):
            return float(number)
        case ast.BinOp(left, kind, right) if type(kind) in _OPERATORS:
            return float(_OPERATORS[type(kind)](_arithmetic(left), _arithmetic(right)))
        case ast.UnaryOp(kind, operand) if type(kind) in _OPERATORS:
            return float(_OPERATORS[type(kind)](_arithmetic(operand)))
    raise ValueError


def read_save_file(path: str | Path) -> SaveFile:
    """Read a save file.

    Raises
    ------
    IcflowError
        If the file is missing or not text, a statement is not one of a save file or cannot be
        read, a parameter is cut off, or there is no spectrum.
    """
    saved = SaveFile(Path(path))
    with reading(path, "a save file of XSPEC", AGAIN):
        text = saved.path.read_text(encoding="utf-8")
    model: SavedModel | None = None
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        where = f"{path}: line {number}"
        if not line or line.startswith("#"):
            own_bins = _OWN_BINS.fullmatch(line)
            saved.group_min = int(own_bins[1]) if own_bins else saved.group_min
            continue
        if PARAMETER.match(line) and model is not None:
            if len(line.split()) == 1 and not line.startswith("="):
                model.switches.add(len(model.parameters))
            value, limits = _parameter(line, where)
            model.parameters.append(value)
            model.limits.append(limits)
        else:
            model = _statement(saved, number, line, where)
    if not saved.spectra:
        raise IcflowError(
            f"{path}: names no spectrum; give a save file written with spectra and models loaded "
            "(`save all NAME.xcm`)"
        )
    return saved


def _statement(saved: SaveFile, number: int, line: str, where: str) -> SavedModel | None:
    """Take a statement up; return the model that it begins, if it is one."""
    word, *words = line.split()
    if word == "model":
        match = MODEL.fullmatch(line)
        if match is None:
            raise IcflowError(f"{where}: {line!r} names no model; {AGAIN}")
        model = SavedModel(int(match[1] or 1), match[2] or "", match[3], number)
        saved.models[model.name] = model
        return model
    if word in ("data", "response", "arf"):
        for first, second, name in _places(words, where):
            _set_file(saved, word, (first, second), name, where)
    elif word in ("backgrnd", "ignore"):
        _take_up(saved, word, words)
    elif word in SETTINGS and words:
        saved.settings[word] = words[0]
    elif word not in WITHOUT_EFFECT:
        raise IcflowError(
            f"{where}: {line.split()[0]!r} is not a statement of a save file that is understood; "
            f"{AGAIN}, without changes of responses such as gain"
        )
    return None


def _take_up(saved: SaveFile, word: str, words: Sequence[str]) -> None:
    """Take up backgrounds of spectra, or what is ignored of them; what names none, not."""
    spectrum: SavedSpectrum | None = None
    if word == "backgrnd" and len(words) == 2 and words[0].isdecimal():
        spectrum = saved.spectra.get(int(words[0]))
        if spectrum is not None:
            spectrum.background = words[1]
        return
    for item in words:
        number, colon, channels = item.rpartition(":")
        if colon and number.isdecimal():
            spectrum = saved.spectra.get(int(number))
        if spectrum is not None:
            spectrum.ignored.append(channels)


def _places(words: Sequence[str], where: str) -> Iterator[tuple[int, int, str]]:
    """Yield what stands before the colon, after it, and the file, for each file of a statement."""
    for place, name in zip(words[::2], words[1::2], strict=False):
        match = PLACE.fullmatch(place)
        if match is None:
            raise IcflowError(f"{where}: {place!r} is not the number of a spectrum; {AGAIN}")
        yield int(match[1] or 1), int(match[2]), name
    if len(words) % 2 or not words:
        raise IcflowError(f"{where}: names no file; {AGAIN}")


def _set_file(saved: SaveFile, word: str, place: tuple[int, int], name: str, where: str) -> None:
    first, number = place
    if word == "data":
        saved.spectra[number] = SavedSpectrum(name, first)
        return
    if number not in saved.spectra:
        raise IcflowError(f"{where}: there is no spectrum {number} before; {AGAIN}")
    spectrum = saved.spectra[number]
    (spectrum.responses if word == "response" else spectrum.areas)[first] = name


def _parameter(line: str, where: str) -> tuple[float | str, tuple[float, float] | None]:
    """Return the value of a parameter, or its link, and the soft limits of one that is free."""
    if line.startswith("="):
        return line[1:].strip(), None
    try:
        numbers = [float(word) for word in line.split()]
        if len(numbers) not in (1, NUMBERS) or not math.isfinite(numbers[0]):
            raise ValueError
    except ValueError:
        raise IcflowError(
            f"{where}: {line!r} is not a parameter, which is six numbers, that of a switch, or a "
            f"link: the file is not whole, or a script; {AGAIN}"
        ) from None
    if len(numbers) == 1:
        return numbers[0], None
    value, step, _, low, high, _ = numbers
    return value, (low, high) if step > 0 else None


def hand_set(names: Mapping[int, str], source: int, otherwise: str | None) -> str | None:
    """Return the file of a source: as set by hand, else what is named otherwise; None for none."""
    name = names.get(source, otherwise)
    return name if _given(name) else None
