"""The command line: one table of commands, no logic of their own.

A command has the name of the stage that it runs, `icflow.stages.NAME`, and its options are the
arguments of that stage. The settings come from the workflow as JSON, or from files of
configuration by the function of `icflow.settings` that has the same name. A stage is imported
when its command runs and its settings are right: some take seconds to import.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import icflow
from icflow.errors import IcflowError
from icflow.layout import Layout

if TYPE_CHECKING:
    from icflow.config import Config

# What commands of earlier versions are called now.
RENAMED = {"figure": "figures", "observation-figure": "observe-figure"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 1 after bad input, 2 after bad usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    try:
        with GROUP.make_context("icflow", words) as context:
            GROUP.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "icflow"
        return _fail(debug, f"{error.format_message().rstrip('.')} (see {command} --help)", 2)
    except KeyboardInterrupt:
        return _fail(debug, "interrupted", 130)
    except BrokenPipeError:
        # The reader of our output has gone; what Python flushes at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except IcflowError as error:
        return _fail(debug, str(error))
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        return _fail(debug, sentence)
    return 0


def _fail(debug: bool, sentence: str, status: int = 1) -> int:
    if debug:
        traceback.print_exc()
    print(f"icflow: error: {sentence}", file=sys.stderr)
    return status


def _sentence(error: Exception) -> str | None:
    """Return what an error of the operating system means, None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    name = getattr(error, "filename", None)
    # Some libraries wrap the error and keep only its text.
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in str(error):
        where = f"{name}: " if name else ""
        return f"{where}no disk space left; free some and run the same command again"
    if number is not None:
        return f"{name}: {os.strerror(number)}" if name else str(error)
    return None


# --- what commands and options are ---------------------------------------------------


class Several(click.Option):
    """An option that takes all words up to the next option: ``--config A B C``."""

    def __init__(self, *names: str, **more: Any) -> None:
        super().__init__(names, multiple=True, **more)


def _spread(words: Sequence[str], several: set[str]) -> Iterator[str]:
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


class Command(click.Command):
    """A command that runs the stage of its name with its options."""

    def __init__(self, name: str, group: str, text: str, *options: click.Parameter) -> None:
        self.group = group
        self.stage = f"stages.{name.replace('-', '_')}"
        sentence = f"{text[0].upper()}{text[1:]}."
        super().__init__(
            name, params=list(options), help=sentence, short_help=text, callback=self.execute
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the name of the command."""
        several = {o for p in self.params if isinstance(p, Several) for o in p.opts}
        return super().parse_args(ctx, list(_spread(args, several)))

    def execute(self, **values: Any) -> None:
        """Run the stage, which is imported last, and print what it returns."""
        function, *arguments = self.call(values)
        result = _named(f"{self.stage}.{function}")(*arguments, **values)
        for line in [result] if isinstance(result, str) else result or []:
            print(line, end="" if str(line).endswith("\n") else "\n")

    def call(self, values: dict[str, Any]) -> list[Any]:
        """Return which function of the stage to call, and what comes before `values`.

        Options that go into the settings are taken out of `values`.
        """
        return ["run"]


class OfOptions(Command):
    """A command whose options are its settings, as far as these have keys of their names."""

    def __init__(self, name: str, group: str, text: str, *options: Any, settings: str) -> None:
        super().__init__(name, group, text, *options)
        self.settings = settings

    def call(self, values: dict[str, Any]) -> list[Any]:  # noqa: D102
        from icflow import config

        model = _named(self.settings)
        tree = {key: values.pop(key) for key in list(values) if key in model.model_fields}
        given = {key: value for key, value in tree.items() if value is not None}
        return ["run", config.checked(model, given, f"icflow {self.name}")]


class OfConfig(Command):
    """A command that takes the whole configuration, and the names of the files that hold it.

    Parameters
    ----------
    chosen : mapping of str to str
        Options that name a part of the configuration, and the section that it is in.
    """

    def __init__(
        self,
        name: str,
        group: str,
        text: str,
        *options: click.Parameter,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, group, text, *options, CONFIG)
        self.chosen = dict(chosen or {})

    def call(self, values: dict[str, Any]) -> list[Any]:  # noqa: D102
        files = list(values.pop("config")) or ["config.yaml"]
        config = _load(files)
        self.choose(config, {name: values[name] for name in self.chosen})
        values["files"] = files
        return ["run", config]

    def choose(self, config: Config, names: Mapping[str, Any]) -> list[str | int]:
        """Return the names that were given, checked against the configuration."""
        chosen: list[str | int] = []
        for parameter in self.params:
            name = str(parameter.name)
            if name in names:
                shown = parameter.opts[0] if isinstance(parameter, click.Option) else "NAME"
                chosen.append(_choose(config, shown, names[name], self.chosen[name]))
        return chosen


class OfSettings(OfConfig):
    """A command that takes the part of the configuration that its stage depends on.

    Parameters
    ----------
    settings : str
        Class of the settings, a dotted name within the library.
    derived : str
        Function that derives them from a configuration and the names chosen, by default
        that of `icflow.settings` with the name of the command.
    whole : bool
        Given a configuration, the stage does more: its function ``whole``.
    """

    def __init__(
        self,
        *words: Any,
        settings: str,
        derived: str | None = None,
        chosen: Mapping[str, str] | None = None,
        whole: bool = False,
    ) -> None:
        super().__init__(*words, SETTINGS, chosen=chosen)
        word = str(self.name).replace("-", "_")
        self.settings, self.whole = settings, whole
        self.derived = f"settings.{word}" if derived is None else derived

    def call(self, values: dict[str, Any]) -> list[Any]:  # noqa: D102
        files, text = list(values.pop("config")), values.pop("settings")
        names = {name: values.pop(name) for name in self.chosen}
        if text is not None:
            from icflow import config

            given = [f"--{n}" for n, value in {"config": files, **names}.items() if value]
            if given:
                raise click.UsageError(f"--settings says what {' and '.join(given)} would say")
            return ["run", config.from_json(_named(self.settings), text)]
        loaded = _load(files or ["config.yaml"])
        chosen = self.choose(loaded, names)
        if self.whole:
            return ["whole", loaded, *chosen]
        return ["run", _named(self.derived)(loaded, *chosen) if self.derived else loaded]


class Group(click.Group):
    """All commands, in the help under the headings of their groups."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, group by group."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for command in self.commands.values():
            assert isinstance(command, Command)
            groups.setdefault(command.group, []).append(
                (str(command.name), str(command.short_help))
            )
        for group, rows in groups.items():
            with formatter.section(group):
                formatter.write_dl(rows)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, or say what its name is now or could be."""
        command = super().get_command(ctx, name)
        if command is None and name in RENAMED:
            ctx.fail(f"icflow {name} is called icflow {RENAMED[name]} now")
        if command is None:
            close = difflib.get_close_matches(name, self.commands, 1)
            hint = f", did you mean {close[0]}?" if close else ""
            ctx.fail(f"there is no command {name!r}{hint}")
        return command


def _named(name: str) -> Any:
    """Return what has a dotted name within the library."""
    module, _, member = name.rpartition(".")
    return getattr(importlib.import_module(f"icflow.{module}"), member)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        print(f"icflow {icflow.__version__}")
        ctx.exit()


def _load(files: Sequence[str]) -> Config:
    from icflow import config

    return config.load(*files)


def _choose(config: Config, option: str, value: Any, section: str) -> str | int:
    """Return what an option names, which must be in a section of the configuration, if any."""
    if not section:
        return str(value)
    allowed = attrgetter(section)(config)
    if isinstance(allowed, int):
        if not 0 <= (value or 0) < allowed:
            raise IcflowError(f"{option} is {value}, allowed: 0 to {allowed - 1}")
        return int(value or 0)
    if value is None or value not in allowed:
        raise IcflowError(f"{option} is {value!r}, allowed: {', '.join(allowed)}")
    return str(value)


# --- kinds of options ----------------------------------------------------------------


class Pair(click.ParamType[tuple[str, Any]]):
    """NAME=VALUE; `read` turns the value into what it means, or fails."""

    name = "NAME=VALUE"

    def __init__(self, read: Callable[[str], Any], wanted: str) -> None:
        self.read, self.wanted = read, wanted

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


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _range(text: str) -> list[float]:
    low, high = (float(part) for part in text.split(":"))
    if not low < high:
        raise ValueError
    return [low, high]


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(names, **more)


def _argument(name: str, metavar: str, **more: Any) -> click.Argument:
    return click.Argument([name], metavar=metavar, **more)


def _pairs(option: str, read: Callable[[str], Any], wanted: str, text: str) -> click.Option:
    names = ("--set", "values") if option == "--set" else (option,)
    return _option(
        *names,
        type=Pair(read, wanted),
        multiple=True,
        metavar=f"NAME={wanted}",
        help=text,
        callback=lambda ctx, param, value: dict(value),
    )


def _output(text: str, name: str = "output", metavar: str = "FILE", **more: Any) -> click.Option:
    more = {"required": True, **more}
    return _option("--output", name, type=PATH, metavar=metavar, help=text, **more)


PATH = click.Path(path_type=Path)
SETTINGS = _option("--settings", metavar="JSON", help="settings of this stage, as JSON")
CONFIG = Several(
    "--config",
    metavar="FILE...",
    help="configuration files, later ones laid over earlier ones  [default: config.yaml]",
)
RESULTS = _option(
    "--results",
    type=PATH,
    metavar="DIR",
    default=Path("results"),
    show_default=True,
    help="folder of the results",
)
THREADS = _option("--threads", type=int, default=1, show_default=True, help="CPU threads")
DPI = _option("--dpi", type=int, default=200, show_default=True, help="resolution of bitmaps")
IMAGES = Several(
    "--output", type=PATH, required=True, metavar="FILE...", help="files to write, .pdf, .png, .svg"
)
SPECTRA = _argument("spectra", "SPECTRA", type=PATH)
DATASET = _option("--dataset", metavar="NAME", help="name under datasets")
NETWORK = _option("--network", metavar="NAME", help="name under autoencoder.networks")
FOLD = _option("--fold", type=int, help="number of the fold, from 0")
OBSERVATION = _argument("name", "[NAME]", required=False)
SCAN = _option("--name", metavar="NAME", help="name under scans")
PAGE = _output(
    "folder to write",
    metavar="DIR",
    required=False,
    default=Path("docs/results"),
    show_default=True,
)
# What a model depends on besides its parameters.
PHYSICS = (
    _option("--background", metavar="FILE", help="background components"),
    _option("--atomdb", "folder", metavar="DIR", help="folder of the AtomDB tables"),
    _option("--abundances", metavar="TABLE", help="abundance table"),
    _option(
        "--cross-sections",
        type=click.Choice(["bcmc", "obcm", "vern"]),
        help="photoelectric cross sections",
    ),
)

# --- the table -----------------------------------------------------------------------

BEFORE, ONE, OWN = "Before a run", "One spectrum", "Your own observations"
STAGES, AFTER = "Stages of the workflow", "After a run"
TRAINED = {"network": "autoencoder.networks", "fold": "autoencoder.training.folds"}

COMMANDS: list[Command] = [
    Command(
        "fetch",
        BEFORE,
        "get the AtomDB tables and the default response files",
        _argument("names", "[NAME]...", nargs=-1),
        _option("--root", type=PATH, default=Path(), help="folder that holds resources/"),
    ),
    OfConfig("validate", BEFORE, "check the configuration, model names and input files"),
    Command(
        "schema",
        BEFORE,
        "print the JSON schema of the configuration, for editors",
        _option("--table", is_flag=True, help="print the keys as a Markdown table instead"),
    ),
    OfSettings(
        "responses",
        BEFORE,
        "make response files from archival NuSTAR data",
        _option("--name", metavar="NAME", help="name under responses"),
        _option(
            "--scratch", type=PATH, required=True, metavar="DIR", help="folder for screened events"
        ),
        _output("folder for the files", "folder", "DIR"),
        settings="settings.ResponseSettings",
        chosen={"name": "responses"},
    ),
    OfOptions(
        "predict",
        ONE,
        "write the expected counts per channel of a model",
        _argument("expression", "EXPRESSION"),
        _pairs("--set", _number, "NUMBER", "value of a parameter, apec_3.kT=2 (default: XSPEC's)"),
        _option("--rmf", metavar="FILE", required=True, help="redistribution matrix"),
        _option("--arf", metavar="FILE", help="effective area"),
        _option("--exposure", type=float, required=True, help="seconds"),
        _output("ECSV table to write"),
        *PHYSICS,
        settings="settings.PredictSettings",
    ),
    OfOptions(
        "fit",
        ONE,
        "fit one OGIP spectrum and print the result",
        _argument("spectrum", "SPECTRUM", type=PATH),
        _option("--expression", required=True, help="such as 'tbabs*(apec+powerlaw)'"),
        _pairs("--freeze", _number, "NUMBER", "keep a parameter at a value"),
        _pairs("--link", str, "OTHER", "a parameter equals another one"),
        _pairs("--limits", _range, "LOW:HIGH", "limits of a free parameter"),
        _option("--rmf", metavar="FILE", help="redistribution matrix (default: RESPFILE)"),
        _option("--arf", metavar="FILE", help="effective area (default: ANCRFILE)"),
        _option(
            "--energies",
            type=float,
            nargs=2,
            default=(3.0, 80.0),
            show_default=True,
            metavar="LOW HIGH",
            help="energies to fit, keV",
            callback=lambda ctx, param, value: list(value),
        ),
        _option("--group-min", type=int, default=1, show_default=True, help="least counts per bin"),
        _option(
            "--background-range",
            type=float,
            default=0.0,
            metavar="FRACTION",
            show_default=True,
            help="how far background norms may move",
        ),
        _option("--starts", type=int, default=8, show_default=True, help="starting points"),
        _option(
            "--errors",
            type=click.Choice(["hessian", "profile"]),
            default="hessian",
            show_default=True,
            help="errors from the curvature, or intervals by profile as well",
        ),
        _option(
            "--delta",
            type=float,
            default=1.0,
            show_default=True,
            help="rise of C at the ends of an interval: 1 for 68 %, 2.706 for 90 %",
        ),
        _output("JSON file to write", required=False),
        *PHYSICS,
        settings="settings.FitSpectrumSettings",
    ),
    OfSettings(
        "observe",
        OWN,
        "look for IC, write what is found and draw it (without --settings)",
        OBSERVATION,
        RESULTS,
        _output(
            "folder to write (default: observe/NAME of the results)", metavar="DIR", required=False
        ),
        settings="settings.ObserveSettings",
        chosen={"name": "observations"},
        whole=True,
    ),
    OfSettings(
        "observe-network",
        OWN,
        "train a network for an observation",
        OBSERVATION,
        NETWORK,
        THREADS,
        _output("folder to write", metavar="DIR"),
        settings="settings.ObserveNetworkSettings",
        chosen={"name": "observations", "network": "autoencoder.networks"},
    ),
    Command(
        "observe-figure",
        OWN,
        "draw the page of an observation",
        _argument("folder", "DIR", type=PATH),
        DPI,
        IMAGES,
    ),
    OfSettings(
        "simulate",
        STAGES,
        "simulate some spectra of a dataset",
        DATASET,
        _option("--shard-first", "first", type=int, required=True, help="index of the first one"),
        _option("--count", type=int, required=True, help="number of spectra"),
        _output("type II PHA file to write; the true parameters come beside it"),
        settings="settings.SimulateSettings",
        chosen={"dataset": "datasets"},
    ),
    OfSettings(
        "label",
        STAGES,
        "fit training spectra to label the latents",
        SPECTRA,
        _output("ECSV table to write"),
        settings="settings.FitSettings",
    ),
    OfSettings(
        "baseline",
        STAGES,
        "fit one model to every spectrum of a file",
        SPECTRA,
        _option("--fit", metavar="NAME", help="name under fits.baseline"),
        _output("ECSV table to write"),
        settings="settings.FitSettings",
        chosen={"fit": "fits.baseline"},
    ),
    OfSettings(
        "integrate",
        STAGES,
        "average the likelihood of every spectrum of a file over priors",
        SPECTRA,
        _option("--integral", metavar="NAME", help="name under integrals"),
        _output("ECSV table to write"),
        settings="settings.IntegralSettings",
        chosen={"integral": "integrals"},
    ),
    OfSettings(
        "train",
        STAGES,
        "train one network in one fold",
        NETWORK,
        FOLD,
        RESULTS,
        THREADS,
        _output("folder to write", metavar="DIR"),
        settings="settings.TrainFoldSettings",
        derived="settings.train_fold",
        chosen=TRAINED,
    ),
    OfSettings(
        "score",
        STAGES,
        "score spectra with one trained network",
        NETWORK,
        FOLD,
        RESULTS,
        _output("ECSV table to write"),
        settings="settings.ScoreSettings",
        chosen=TRAINED,
    ),
    OfSettings(
        "fluxes",
        STAGES,
        "tabulate the true fluxes of the test spectra",
        RESULTS,
        _output("ECSV table to write"),
        settings="settings.FluxSettings",
    ),
    OfSettings(
        "evaluate",
        STAGES,
        "choose thresholds and measure every detector",
        RESULTS,
        _output("folder for scores and metrics", metavar="DIR"),
        _option("--tables", type=PATH, required=True, metavar="DIR", help="folder for the tables"),
        settings="settings.EvaluateSettings",
    ),
    OfSettings(
        "scan",
        STAGES,
        "compare the evaluations at the points of a scan",
        SCAN,
        RESULTS,
        _output("folder to write", metavar="DIR"),
        settings="settings.ScanSettings",
        chosen={"name": "scans"},
    ),
    OfSettings(
        "scan-figure",
        STAGES,
        "draw the figure of a scan",
        _argument("folder", "DIR", type=PATH),
        SCAN,
        DPI,
        IMAGES,
        settings="settings.ScanSettings",
        derived="settings.scan",
        chosen={"name": "scans"},
    ),
    OfSettings(
        "components",
        STAGES,
        "write the expected counts of a spectrum's components",
        DATASET,
        SPECTRA,
        _option("--index", type=int, required=True, help="index of the spectrum"),
        _output("ECSV table to write"),
        settings="settings.SimulateSettings",
        derived="settings.simulate",
        chosen={"dataset": "datasets"},
    ),
    OfSettings(
        "figures",
        STAGES,
        "draw one figure: 1 to 8 of the paper, or another by its name",
        _argument("name", "[NAME]", required=False),
        RESULTS,
        IMAGES,
        settings="publish.figures.base.FigureSettings",
        derived="publish.figures.registry.settings",
        chosen={"name": ""},
    ),
    OfSettings(
        "record",
        AFTER,
        "write configuration, versions and checksums of a run",
        _output("JSON file to write"),
        settings="config.Config",
        derived="",
    ),
    OfSettings(
        "report",
        AFTER,
        "write the report of a finished run",
        RESULTS,
        _output("HTML file to write"),
        settings="config.Config",
        derived="",
    ),
    OfConfig(
        "results-page",
        AFTER,
        "write the page of results of a run, with tables and figures",
        RESULTS,
        PAGE,
    ),
    OfConfig(
        "scan-page",
        AFTER,
        "write the page of a scan, with its table and figure",
        _argument("name", "NAME"),
        RESULTS,
        PAGE,
        chosen={"name": "scans"},
    ),
    OfSettings(
        "compare-engines",
        AFTER,
        "test an XSPEC: the same spectra through both engines",
        _option(
            "--count", type=int, default=3, show_default=True, help="spectra of each test dataset"
        ),
        _output(
            "ECSV table to write",
            required=False,
            default=Layout().comparison("ecsv"),
            show_default=True,
        ),
        Several(
            "--figure",
            type=PATH,
            metavar="FILE...",
            default=[Layout().comparison("pdf"), Layout().comparison("png")],
            show_default=True,
            help="files of the figure",
        ),
        settings="config.Config",
        derived="",
    ),
]

GROUP = Group(
    "icflow",
    commands=COMMANDS,
    params=[
        _option(
            "--version",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="show the version and exit",
        ),
        _option("--debug", is_flag=True, help="show tracebacks of errors"),
    ],
    callback=lambda debug: None,
    help="Is there inverse Compton emission in this spectrum? Simulate, fit and classify hard "
    "X-ray spectra of galaxy clusters.",
    epilog="`snakemake --cores 2` runs all stages in order; a stage run by hand takes its settings "
    "from config.yaml in the working directory, and reads what other stages have written below "
    "results/.",
)

if __name__ == "__main__":
    sys.exit(main())
