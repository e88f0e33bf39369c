"""What a command is: options written as lines, the settings of its stage, the call of the stage.

A command has the name of the stage that it runs, `icflow.stages.NAME`, and its options are the
arguments of that stage. The settings come from the workflow as JSON, or from files of
configuration by the function of `icflow.settings` that has the same name. A stage is imported
when its command runs and its settings are right: some take seconds to import.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import click

from icflow.errors import IcflowError, did_you_mean
from icflow.files import check_output
from icflow.layout import Layout

if TYPE_CHECKING:
    from icflow.config import Config

# --- options -------------------------------------------------------------------------


class Several(click.Option):
    """An option that takes all words up to the next option: ``--config A B C``."""


class Pair(click.ParamType[tuple[str, Any]]):
    """NAME=VALUE; `read` turns the value into what it means, or fails."""

    name = "NAME=VALUE"

    def __init__(self, wanted: str) -> None:
        self.wanted, self.read = wanted, VALUES[wanted]

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        """Return name and value."""
        name, _, text = str(value).partition("=")
        if not (name and text):
            self.fail(f"{value!r} is not NAME={self.wanted}", param, ctx)
        try:
            return name, self.read(text)
        except ValueError:
            self.fail(f"{text!r} in {value!r} is not {self.wanted}", param, ctx)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _interval(text: str) -> list[float]:
    low, high = (_finite(part) for part in text.split(":"))
    if not low < high:
        raise ValueError
    return [low, high]


VALUES: dict[str, Callable[[str], Any]] = {
    "NUMBER": _finite,
    "LOW:HIGH": _interval,
    "OTHER": str,
}
PATH = click.Path(path_type=Path)
# Options that name what is written.
OUTPUTS = ("output", "save", "plot", "figure")
KINDS: dict[str, Any] = {
    "N": click.IntRange(0, 2**63 - 1),
    "N>0": click.IntRange(1, 10**7),
    "DOTS": click.IntRange(10, 2400),
    **dict.fromkeys(("NUMBER", "SECONDS", "FRACTION", "LOW HIGH"), float),
    **dict.fromkeys(("FILE", "DIR", "SPECTRA", "SPECTRUM", "REGION", "SAVED"), PATH),
}
KIND = re.compile(
    r"(?P<pair>NAME=)?(?P<kind>[^@=!.]*)(?P<several>\.\.\.)?"
    r"(?:@(?P<section>[\w.]+))?(?P<required>!)?(?:=(?P<default>.*))?"
)


def parameter(line: str) -> click.Parameter:
    """Return the option that a line describes.

    ``--name KIND  what it means``; without dashes it is an argument. ``KIND!`` must be given,
    ``KIND=5`` has a default, ``KIND...`` takes several words, ``KIND@section`` names a part of
    that section of the configuration, ``NAME=KIND`` is a pair, may be given several times and
    becomes a dictionary, ``KIND+`` may be given several times and becomes a list, ``a|b`` is a
    choice, and without a kind it is a switch. As ``--name>other`` it is called `other` in the
    stage.
    """
    words, _, text = line.strip().partition("  ")
    names, _, kinds = words.partition(" ")
    name, _, other = names.partition(">")
    found = KIND.fullmatch(kinds)
    assert found is not None, line
    pair, kind, several, section, required, default = found.groups()
    if section and not text:
        text = f"name under {section}"
    more: dict[str, Any] = {
        "type": KINDS.get(kind, str),
        "metavar": f"{pair or ''}{kind}{several or ''}",
        "required": bool(required),
    }
    if not name.startswith("-"):
        more["metavar"] = more["metavar"] if required else f"[{more['metavar']}]"
        return click.Argument([other or name], nargs=-1 if several else 1, **more)
    option = [name, other or name.lstrip("-").replace("-", "_")]
    repeated, kind = kind.endswith("+"), kind.rstrip("+")
    more |= {"help": text.strip()}
    if not kind:
        return click.Option(option, is_flag=True, help=text.strip())
    if pair:
        pairs = {"type": Pair(kind), "multiple": True, "callback": lambda *given: dict(given[-1])}
        return click.Option(option, **more | pairs)
    if repeated:
        more |= {"type": str, "metavar": kind, "multiple": True}
        more["callback"] = lambda *words: list(words[-1])
    if "|" in kind:
        more |= {"type": click.Choice(kind.split("|")), "metavar": None}
    if default is not None:
        more |= {"default": default, "show_default": True}
    if several:
        more["default"] = (default or "").split()
        return Several(option, multiple=True, **more)
    if " " in kind:
        more |= {"nargs": 2, "default": default.split() if default else None}
        more["callback"] = lambda *given: list(given[-1]) if given[-1] else None
    return click.Option(option, **more)


def _sections(lines: Sequence[str]) -> dict[str, str]:
    """Return the options that name a part of the configuration, and the section of each."""
    return {
        str(parameter(line).name): str(KIND.fullmatch(line.split()[1])["section"])  # type: ignore[index]
        for line in lines
        if re.match(r"\S+ \S*@", line)
    }


def spread(words: Sequence[str], several: set[str]) -> Iterator[str]:
    """Repeat options that take several words before each of them, as click reads them."""
    option = ""
    for position, word in enumerate(words):
        if word == "--":
            yield from words[position:]
            return
        if word.startswith("-") and word != "-":
            option = word if word in several else ""
            if option and not "".join(words[position + 1 : position + 2] or "-").startswith("-"):
                continue
        elif option:
            yield option
        yield word


# --- commands ------------------------------------------------------------------------


class Command(click.Command):
    """A command that runs the stage of its name with its options, given as lines."""

    def __init__(self, name: str, group: str, text: str, *lines: str) -> None:
        self.group = group
        self.stage = f"stages.{re.sub('[- ]', '_', name)}"
        super().__init__(
            name,
            params=[parameter(line) for line in lines],
            help=f"{text[0].upper()}{text[1:]}.",
            short_help=text,
            callback=self.execute,
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the name of the command."""
        several = {o for p in self.params if isinstance(p, Several) for o in p.opts}
        return super().parse_args(ctx, list(spread(args, several)))

    def execute(self, **values: Any) -> None:
        """Run the stage, which is imported last, and print what it returns."""
        self._check_outputs(values)
        function, *arguments = self.call(values)
        if "results" in values:
            Layout(values["results"]).check_version()
        result = _named(function)(*arguments, **values)
        for line in [result] if isinstance(result, str) else result or []:
            click.echo(line, nl=not str(line).endswith("\n"))

    def _check_outputs(self, values: Mapping[str, Any]) -> None:
        """Check that what is to be written can be, before long work starts."""
        for parameter in self.params:
            if parameter.name not in OUTPUTS:
                continue
            given = values.get(parameter.name)
            for path in given if isinstance(given, list | tuple) else filter(None, [given]):
                if parameter.metavar != "DIR":
                    check_output(path)
                elif path.exists() and not path.is_dir():
                    raise IcflowError(f"{path}: is there and no folder; name another")
                if Path.cwd() / Layout().root in (Path.cwd() / path).parents:
                    Layout().check_version()

    def call(self, values: dict[str, Any]) -> list[Any]:
        """Return which function to call, by its dotted name, and what comes before `values`.

        Options that go into the settings are taken out of `values`.
        """
        return [f"{self.stage}.run"]


class OfOptions(Command):
    """A command whose options are its settings, as far as these have keys of their names."""

    def __init__(self, *words: str, settings: str) -> None:
        super().__init__(*words)
        self.settings = settings

    def call(self, values: dict[str, Any]) -> list[Any]:
        """Return the settings."""
        from icflow import config

        model = _named(self.settings)
        tree = {key: values.pop(key) for key in list(values) if key in model.model_fields}
        given = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in tree.items()
            if value is not None
        }
        return [f"{self.stage}.run", config.checked(model, given, f"icflow {self.name}")]


class OfConfig(Command):
    """A command that takes the whole configuration, and the names of the files that hold it."""

    allow_extra_args = True  # `parse_args` refuses them itself

    def __init__(self, *words: str) -> None:
        files = "--config FILE...  configuration, later files over earlier ones [config.yaml]"
        super().__init__(*words, files)
        self.chosen = _sections(words[3:])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the name of the command; say what those left over may be."""
        left = super().parse_args(ctx, args)
        if left:
            words = " ".join(left)
            ctx.fail(
                f"there is no place for {words}; if the configuration is meant, write --config "
                f"{words}"
            )
        return left

    def call(self, values: dict[str, Any]) -> list[Any]:
        """Return the configuration."""
        files = _texts(values.pop("config")) or [_own_config()]
        config = _load(files)
        self.choose(config, values)
        values["files"] = files
        return [f"{self.stage}.run", config]

    def choose(self, config: Config, values: Mapping[str, Any]) -> list[str | int]:
        """Return the names that were given, checked against the configuration."""
        return [
            _choose(config, _shown(parameter), values[parameter.name], self.chosen[parameter.name])
            for parameter in self.params
            if parameter.name in self.chosen
        ]


class OfSettings(OfConfig):
    """A command that takes the part of the configuration that its stage depends on.

    Parameters
    ----------
    derived : str
        Function that derives them from a configuration and the names chosen, by default
        that of `icflow.settings` with the name of the command; empty for the whole.
    whole : str
        Function that does more than the stage, called instead of it where there is a
        configuration.
    """

    def __init__(self, *words: str, derived: str | None = None, whole: str = "") -> None:
        super().__init__(*words, "--settings JSON  settings of this stage, instead of --config")
        word = words[0].replace("-", "_")
        self.whole = whole
        self.derived = f"settings.{word}" if derived is None else derived

    def call(self, values: dict[str, Any]) -> list[Any]:
        """Return the settings."""
        files, text = _texts(values.pop("config")), values.pop("settings")
        names = {name: values.pop(name) for name in self.chosen}
        if text is not None:
            from icflow import config

            given = [f"--{name}" for name, value in {"config": files, **names}.items() if value]
            if given:
                raise click.UsageError(f"--settings says what {' and '.join(given)} would say")
            kind = get_type_hints(_named(self.derived))["return"] if self.derived else config.Config
            return [f"{self.stage}.run", config.from_json(kind, text)]
        loaded = _load(files or [_own_config()])
        chosen = self.choose(loaded, names)
        if self.whole:
            return [self.whole, loaded, *chosen]
        settings = _named(self.derived)(loaded, *chosen) if self.derived else loaded
        return [f"{self.stage}.run", settings]


def _named(name: str) -> Any:
    """Return what has a dotted name within the library."""
    module, _, member = name.rpartition(".")
    return getattr(importlib.import_module(f"icflow.{module}"), member)


def _texts(paths: Sequence[Path]) -> list[str]:
    return [str(path) for path in paths]


def _own_config() -> str:
    """Return the configuration of the project that this folder is."""
    if not Path("config.yaml").exists():
        raise IcflowError(
            "config.yaml: is not here; go to the folder of a project, or make one with `icflow "
            "init FOLDER`"
        )
    return "config.yaml"


def _load(files: Sequence[str]) -> Config:
    from icflow import config

    return config.load(*files)


def _shown(parameter: click.Parameter) -> str:
    return parameter.opts[0] if isinstance(parameter, click.Option) else "NAME"


def _choose(config: Config, option: str, value: Any, section: str) -> str | int:
    """Return what an option names, which must be in a section of the configuration."""
    if section == "figures":  # by the registry, which is not of the configuration
        return str(value)
    allowed = attrgetter(section)(config)
    if isinstance(allowed, int):
        if not 0 <= (value or 0) < allowed:
            raise IcflowError(f"{option} is {value}, allowed: 0 to {allowed - 1}")
        return int(value or 0)
    if not allowed:
        raise IcflowError(f"{option} is a name under {section}, where there is none; add it there")
    names = ", ".join(allowed)
    if value is None:
        raise IcflowError(f"{option} is missing, allowed: {names}")
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        raise IcflowError(f"{option} is {value!r}, allowed: {names}{hint}")
    return str(value)
