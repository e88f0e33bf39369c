"""The command line: one table of commands, no logic of its own; see `icflow.commands`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

import click

import icflow
from icflow.commands import Command, OfConfig, OfOptions, OfSettings
from icflow.defaults import CROSS_NORMALISATION
from icflow.errors import IcflowError, did_you_mean
from icflow.files import NO_SPACE, inputs_kept
from icflow.layout import Layout

LOW, HIGH = CROSS_NORMALISATION
# New objects between two searches for circles of them. What is imported stays, a hundred thousand
# objects: every 700 of them, as is Python's own way, a search takes a tenth of a second together.
OBJECTS = 50_000
# What commands of earlier versions are called now.
RENAMED = {"figure": "figures", "observation-figure": "observe-figure"}

# --- options that several commands have, written as `icflow.commands.parameter` reads them ---

RESULTS = "--results DIR=results  folder of the results"
THREADS = "--threads N>0=1  CPU threads"
TABLE = "--output FILE!  ECSV table to write"
FOLDER = "--output DIR!  folder to write"
PAGE = "--output DIR=docs/results  folder to write"
DPI = "--dpi DOTS=200  resolution of bitmaps"
IMAGES = "--output FILE...!  files to write, .pdf, .png or .svg"
DATASET = "--dataset NAME@datasets"
NETWORK = "--network NAME@autoencoder.networks"
RATIO = "--ratio NAME@ratios"
FOLD = "--fold N@autoencoder.training.folds  number of the fold, from 0"
OBSERVATION = "name NAME@observations"
SCAN = "--name NAME@scans"
# What models depend on besides their parameters.
ATOMIC = (
    "--atomdb>folder DIR  folder of the AtomDB tables",
    "--abundances TABLE  abundance table",
    "--cross-sections bcmc|obcm|vern  photoelectric cross sections",
)
PHYSICS = (
    "--arf FILE  effective area, or `none` (default: ANCRFILE of a spectrum)",
    "--background FILE  background components, or `file` for BACKFILE, or `none`",
    *ATOMIC,
)

# --- the table -----------------------------------------------------------------------

BEFORE, ONE, OWN = "Before a run", "One spectrum", "Your own observations"
STAGES, AFTER = "Stages of the workflow", "After a run"

COMMANDS: list[Command] = [
    Command(
        "fetch",
        BEFORE,
        "get the AtomDB tables and the default response files",
        "names NAME...",
        "--root DIR  folder of a project (default: this one, or else the data folder of the user)",
    ),
    Command(
        "init",
        BEFORE,
        "make a folder for a project, with the workflow that is installed",
        "folder DIR!",
        "--observation SPECTRA...  spectra of a source, which its configuration then names",
    ),
    Command(
        "source",
        BEFORE,
        "write the sources of this icflow, from which environments and images are made",
        "folder DIR!",
    ),
    OfConfig("validate", BEFORE, "check the configuration, model names and input files"),
    Command(
        "schema",
        BEFORE,
        "print the JSON schema of the configuration, for editors",
        "--table  print the keys as Markdown tables instead",
    ),
    Command(
        "cache",
        BEFORE,
        "show what is kept between runs",
        "--clear  remove tables and compiled functions, which are made again when they are needed",
    ),
    OfSettings(
        "responses",
        BEFORE,
        "make response files from archival NuSTAR data",
        "--name NAME@responses",
        "--scratch DIR!  folder for screened events",
        "--output>folder DIR!  folder for the files",
    ),
    Command(
        "info",
        ONE,
        "print what OGIP files hold and what is odd about them; without files, what is installed",
        "files FILE...",
    ),
    OfOptions(
        "predict",
        ONE,
        "write the expected counts per channel of a model",
        "expression EXPRESSION!",
        "--set>values NAME=NUMBER  value of a parameter, such as apec_3.kT=2 (default: XSPEC's)",
        "--rmf FILE!  redistribution matrix",
        "--exposure SECONDS!  exposure",
        TABLE,
        *PHYSICS,
        settings="settings.PredictSettings",
    ),
    OfOptions(
        "fake",
        ONE,
        "draw a spectrum like an observed one, and its background spectrum",
        "spectrum SPECTRUM!",
        "--expression EXPRESSION!  such as 'tbabs*(apec+powerlaw)'",
        "--set>values NAME=NUMBER  value of a parameter, such as apec_3.kT=2 (default: XSPEC's)",
        "--exposure SECONDS  exposure (default: that of the spectrum)",
        "--seed N=1  of the random numbers",
        "--rmf FILE  redistribution matrix (default: RESPFILE)",
        "--output FILE!  PHA file to write; the background spectrum comes beside it",
        *PHYSICS,
        settings="settings.FakeSettings",
    ),
    OfOptions(
        "fit",
        ONE,
        "fit an OGIP spectrum, or several jointly, and print the result",
        "spectra SPECTRUM...!",
        "--expression EXPRESSION!  such as 'tbabs*(apec+powerlaw)'",
        "--freeze NAME=NUMBER  keep a parameter at a value",
        "--link NAME=OTHER  a parameter equals another one",
        "--limits NAME=LOW:HIGH  limits of a free parameter",
        "--start NAME=NUMBER  where a free parameter starts",
        "--rmf FILE+  redistribution matrix, of all spectra or once for each (default: RESPFILE)",
        "--arf FILE+  effective area, or `none` (default: ANCRFILE)",
        "--background FILE+  background spectrum or components, or `none` (default: BACKFILE)",
        "--cross-normalisation LOW HIGH  limits of the factors between the first spectrum and the "
        f"others (default: {LOW:g} to {HIGH:g})",
        "--energies LOW HIGH  energies to fit, keV (default: 3 to 80 where there are channels)",
        "--group-min N  least counts per bin (default: the GROUPING of the file, if it has one)",
        "--background-range FRACTION=0  how far background norms may move",
        "--strategy thorough|plain=thorough  the lowest minimum, or XSPEC's end from one start",
        "--starts N>0=8  starting points",
        "--errors hessian|profile|marginal=hessian  from the curvature; or intervals as well, by "
        "profile or averaged over all else",
        "--delta NUMBER=1  rise of C or W at the ends of an interval: 1 for 68 %, 2.706 for 90 %",
        "--output FILE  JSON file to write",
        "--save FILE  save file to write, for XSPEC: @fit.xcm",
        "--plot FILE  figure to draw, .pdf, .png or .svg",
        "--unfolded  draw the source before the response as well",
        *ATOMIC,
        settings="settings.FitSpectrumSettings",
    ),
    OfSettings(
        "observe",
        OWN,
        "look for IC, write what is found and draw it (without --settings)",
        OBSERVATION,
        RESULTS,
        "--output DIR  folder to write (default: observe/NAME of the results)",
        whole="observation.whole.below",
    ),
    OfSettings(
        "observe-network",
        OWN,
        "train a network for an observation",
        OBSERVATION,
        NETWORK,
        THREADS,
        FOLDER,
    ),
    OfSettings(
        "observe-ratio",
        OWN,
        "train the estimate of a likelihood ratio for an observation",
        OBSERVATION,
        RATIO,
        THREADS,
        FOLDER,
    ),
    Command(
        "background import",
        OWN,
        "write the backgrounds that an XSPEC save file holds, as nuskybgd leaves it",
        "saved SAVED!",
        "--output FILE!  background file; with several spectra the name of each is added",
        "--source NAME...  models that are not background, the unnamed one as 1 (default: 1)",
    ),
    OfOptions(
        "background fit",
        OWN,
        "find the background of a source from spectra of source-free regions",
        "spectra REGION...!",
        "--source SPECTRUM...!  spectra of the source, one for each module",
        "--background FILE...!  background file with the shapes; one, or one for each --source",
        "--output FILE!  background file; with several sources the name of each is added",
        "--regions FILE  what the spectra see of the background (default: BACKSCAL)",
        "--energies LOW HIGH=3 80  energies to fit, keV",
        "--each-model  a norm for each model of a component, such as every line",
        "--rmf FILE  redistribution matrix (default: RESPFILE of each region)",
        *ATOMIC,
        settings="settings.BackgroundFitSettings",
    ),
    Command("observe-figure", OWN, "draw the page of an observation", "folder DIR!", DPI, IMAGES),
    OfSettings(
        "simulate",
        STAGES,
        "simulate some spectra of a dataset",
        DATASET,
        "--shard-first>first N!  index of the first one",
        "--count N>0!  number of spectra",
        "--output FILE!  type II PHA file to write; the true parameters come beside it",
    ),
    OfSettings(
        "label",
        STAGES,
        "fit training spectra to label the latents",
        "spectra SPECTRA!",
        TABLE,
    ),
    OfSettings(
        "baseline",
        STAGES,
        "fit one model to every spectrum of a file",
        "--fit NAME@fits.baseline",
        "spectra SPECTRA!",
        TABLE,
    ),
    OfSettings(
        "integrate",
        STAGES,
        "average the likelihood of every spectrum of a file over priors",
        "--integral NAME@integrals",
        "spectra SPECTRA!",
        TABLE,
    ),
    OfSettings(
        "ratio",
        STAGES,
        "train the network that estimates a likelihood ratio",
        RATIO,
        THREADS,
        FOLDER,
    ),
    OfSettings(
        "estimate",
        STAGES,
        "estimate a likelihood ratio of every spectrum of a file",
        RATIO,
        RESULTS,
        "spectra SPECTRA!",
        TABLE,
        derived="settings.ratio",
    ),
    OfSettings(
        "train",
        STAGES,
        "train one network in one fold",
        NETWORK,
        FOLD,
        RESULTS,
        THREADS,
        FOLDER,
        derived="settings.train_fold",
    ),
    OfSettings(
        "score",
        STAGES,
        "score spectra with one trained network",
        NETWORK,
        FOLD,
        RESULTS,
        TABLE,
    ),
    OfSettings(
        "fluxes",
        STAGES,
        "tabulate the true fluxes of the test spectra",
        RESULTS,
        TABLE,
    ),
    OfSettings(
        "evaluate",
        STAGES,
        "choose thresholds and measure every detector",
        RESULTS,
        "--output DIR!  folder for scores and metrics",
        "--tables DIR!  folder for the tables",
    ),
    OfSettings(
        "scan",
        STAGES,
        "compare the evaluations at the points of a scan",
        SCAN,
        RESULTS,
        FOLDER,
    ),
    OfSettings(
        "scan-figure",
        STAGES,
        "draw the figure of a scan",
        "folder DIR!",
        SCAN,
        DPI,
        IMAGES,
        derived="settings.scan",
    ),
    OfSettings(
        "components",
        STAGES,
        "write the expected counts of a spectrum's components",
        DATASET,
        "spectra SPECTRA!",
        "--index N!  index of the spectrum",
        TABLE,
        derived="settings.simulate",
    ),
    OfSettings(
        "figures",
        STAGES,
        "draw one figure: 1 to 8 of the paper, or another by its name",
        "name NAME@figures",
        RESULTS,
        IMAGES,
        derived="publish.figures.registry.settings",
    ),
    OfSettings(
        "record",
        AFTER,
        "write configuration, versions and checksums of a run",
        "--output FILE!  JSON file to write",
        derived="",
    ),
    OfSettings(
        "report",
        AFTER,
        "write the report of a finished run",
        RESULTS,
        "--output FILE!  HTML file to write",
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
        "name NAME@scans!",
        RESULTS,
        PAGE,
    ),
    OfSettings(
        "compare-engines",
        AFTER,
        "test an XSPEC: the same spectra through both engines",
        "--count N>0=3  spectra of each test dataset",
        f"--output FILE={Layout().comparison('ecsv')}  ECSV table to write",
        "--figure FILE...  its figure (default: beside the table, PDF and PNG)",
        derived="",
    ),
]


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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take the words of a command of two, such as ``background fit``, as one name."""
        pair = " ".join(args[:2])
        return super().resolve_command(ctx, [pair, *args[2:]] if pair in self.commands else args)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, or say what its name is now or could be."""
        command = super().get_command(ctx, name)
        seconds = [word[len(name) + 1 :] for word in self.commands if word.startswith(f"{name} ")]
        if seconds:
            ctx.fail(f"icflow {name} is followed by {' or '.join(seconds)}")
        if command is None and name in RENAMED:
            ctx.fail(f"icflow {name} is called icflow {RENAMED[name]} now")
        if command is None:
            ctx.fail(f"there is no command {name!r}{did_you_mean(name, self.commands, ', ')}")
        return command


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        print(f"icflow {icflow.__version__}")
        ctx.exit()


GROUP = Group(
    "icflow",
    commands=COMMANDS,
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_version,
            help="show the version and exit",
        ),
        click.Option(["--debug"], is_flag=True, help="show tracebacks of errors"),
    ],
    callback=lambda debug: None,
    help="Is there inverse Compton emission in this spectrum? Simulate, fit and classify hard "
    "X-ray spectra of galaxy clusters.",
    epilog="`snakemake --cores 2` runs all stages in order; a stage run by hand takes its settings "
    "from config.yaml in the working directory, and reads what other stages have written below "
    "results/.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 1 after bad input, 2 after bad usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = words[:1] == ["--debug"]
    gc.set_threshold(OBJECTS)
    _end_in_order()
    try:
        with inputs_kept(), GROUP.make_context("icflow", words) as context:
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
    finally:
        if arguments is None:  # the process ends: who tells it to is late
            # Nor are the circles that are left looked for, three times: a quarter of many a job.
            gc.freeze()
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
    return 0


def _end_in_order() -> None:
    """On SIGTERM leave as on an error, so that temporary files and other processes go too."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> None:
    # Whoever ends a group of processes often says so twice; once is enough to leave.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _fail(debug: bool, sentence: str, status: int = 1) -> int:
    if debug:
        traceback.print_exc()
    # One line, whatever names and values hold.
    print(f"icflow: error: {' '.join(sentence.splitlines())}", file=sys.stderr)
    return status


# What the operating system says of a full disk, and astropy.
FULL_DISK = ("No space left on device", "Not enough space on disk")


def _sentence(error: Exception) -> str | None:
    """Return what an error of the operating system means, None for any other error."""
    number = error.errno if isinstance(error, OSError) else None
    name = getattr(error, "filename", None)
    # Some libraries wrap the error and keep only its text.
    full = any(words in str(error) for words in FULL_DISK)
    if full or number in NO_SPACE:
        where = f"{name}: " if name else ""
        return f"{where}no disk space left; free some and run the same command again"
    if isinstance(error, MemoryError | RecursionError):
        return "not enough memory for this input; give less of it, or use a larger machine"
    if number is not None:
        return f"{name}: {os.strerror(number)}" if name else str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
