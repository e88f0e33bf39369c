"""The command line: one subcommand per stage, no logic of its own.

A stage is imported when its subcommand runs and its settings are right: some
of them take seconds to import.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import icflow
from icflow import config as configuration
from icflow import settings as settings_of
from icflow.config import Config, Section
from icflow.errors import IcflowError

Settings = TypeVar("Settings", bound=Section)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status: 1 after bad input, 2 after bad usage."""
    args = build_parser().parse_args(arguments)
    try:
        args.run(args)
    except KeyboardInterrupt:
        return _fail(args, "interrupted", status=130)
    except BrokenPipeError:
        # The reader of our output has gone; what Python flushes at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except IcflowError as error:
        return _fail(args, str(error))
    except Exception as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        return _fail(args, sentence)
    return 0


def _fail(args: argparse.Namespace, sentence: str, status: int = 1) -> int:
    if args.debug:
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


# --- the parser --------------------------------------------------------------------


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = argparse.ArgumentParser(
        prog="icflow",
        description="Is there inverse Compton emission in this spectrum? Simulate, fit and "
        "classify hard X-ray spectra of galaxy clusters.",
        epilog="`snakemake --cores 2` runs all stages in order; a stage run by hand takes its "
        "settings from config.yaml in the working directory.",
    )
    parser.add_argument("--version", action="version", version=f"icflow {icflow.__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks of errors")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _add_fetch,
        _add_validate,
        _add_schema,
        _add_predict,
        _add_fit,
        _add_observe,
        _add_observe_network,
        _add_observation_figure,
        _add_responses,
        _add_simulate,
        _add_label,
        _add_baseline,
        _add_integrate,
        _add_train,
        _add_score,
        _add_fluxes,
        _add_evaluate,
        _add_scan,
        _add_scan_figure,
        _add_components,
        _add_figure,
        _add_record,
        _add_report,
        _add_results_page,
        _add_scan_page,
        _add_compare,
    ):
        add(commands)
    return parser


Commands = argparse._SubParsersAction


def _command(
    commands: Commands[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        nargs="+",
        metavar="FILE",
        default=["config.yaml"],
        help="configuration files, later ones laid over earlier ones (default: config.yaml)",
    )


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the two ways to give a stage its settings."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--settings", metavar="JSON", help="settings of this stage, as JSON")
    _add_config(group)  # type: ignore[arg-type]


def _settings(
    args: argparse.Namespace, model: type[Settings], derive: Callable[[Config], Settings]
) -> Settings:
    """Return a stage's settings from --settings, or derive them from --config."""
    if args.settings is not None:
        return configuration.from_json(model, args.settings)
    return derive(configuration.load(*args.config))


def _add_output(parser: argparse.ArgumentParser, text: str, metavar: str | None = None) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar=metavar, help=text)


def _add_files(
    parser: argparse.ArgumentParser, option: str, text: str, nargs: str = "+", **keywords: Any
) -> None:
    parser.add_argument(option, type=Path, nargs=nargs, metavar="FILE", help=text, **keywords)


def _add_images(parser: argparse.ArgumentParser) -> None:
    _add_files(parser, "--output", "files to write, .pdf, .png or .svg", required=True)


def _add_drawing(parser: argparse.ArgumentParser, text: str) -> None:
    """Add what a figure of a folder needs; `text` says what the folder is."""
    parser.add_argument("folder", type=Path, metavar="DIR", help=text)
    parser.add_argument("--dpi", type=int, default=200, help="resolution of bitmaps (default: 200)")
    _add_images(parser)


def _add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="folder of the results (default: results)",
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")


def _pair(text: str) -> tuple[str, Path]:
    """Read NAME=FILE."""
    name, separator, path = text.partition("=")
    if not (name and separator and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FILE")
    return name, Path(path)


def _grouped(pairs: Sequence[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Collect the files of each name, in the order given."""
    groups: dict[str, list[Path]] = {}
    for name, path in pairs:
        groups.setdefault(name, []).append(path)
    return groups


# --- before a run ------------------------------------------------------------------


def _add_fetch(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "fetch", _fetch, "get the AtomDB tables and the default response files"
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="file names of resources (default: all)"
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="folder that holds resources/ (default: here)"
    )


def _fetch(args: argparse.Namespace) -> None:
    from icflow.stages import fetch

    fetch.run(args.names, args.root)


def _add_validate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "validate", _validate, "check the configuration, model names and input files"
    )
    _add_config(parser)


def _validate(args: argparse.Namespace) -> None:
    from icflow import inputs
    from icflow.detection import scan

    config = configuration.load(*args.config)
    inputs.check_all(config)
    scan.check(config)
    for name in config.observations:
        inputs.check_observation(config, name)
        inputs.check_responses(config, name)
    print(f"{', '.join(args.config)}: valid")


def _add_schema(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "schema", _schema, "print the JSON schema of the configuration, for editors"
    )
    parser.add_argument(
        "--table", action="store_true", help="print the keys as a Markdown table instead"
    )


def _schema(args: argparse.Namespace) -> None:
    from icflow import schema

    print(schema.markdown() if args.table else schema.json_text(), end="")


# --- one spectrum ------------------------------------------------------------------


def _add_predict(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "predict", _predict, "write the expected counts per channel of a model"
    )
    parser.add_argument("expression", metavar="EXPRESSION", help="such as 'tbabs*(apec+apec)'")
    parser.add_argument(
        "--set",
        type=_value,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="value of a parameter, such as apec_3.kT=2 (default: XSPEC's)",
    )
    parser.add_argument("--rmf", type=Path, required=True, help="redistribution matrix")
    parser.add_argument("--arf", type=Path, help="effective area")
    parser.add_argument("--exposure", type=float, required=True, help="seconds")
    _add_output(parser, "ECSV table to write")
    _add_physics(parser)


def _predict(args: argparse.Namespace) -> None:
    if not args.exposure > 0:
        raise IcflowError(f"--exposure is {args.exposure}, allowed: seconds above 0")
    from icflow.stages import fit as interactive

    interactive.predict(
        args.expression,
        dict(args.set),
        args.rmf,
        args.arf,
        args.exposure,
        args.background,
        _atomic_data(args),
        args.output,
    )


def _add_fit(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "fit", _fit, "fit one OGIP spectrum and print the result")
    parser.add_argument("spectrum", type=Path, metavar="SPECTRUM", help="type I PHA file")
    parser.add_argument("--expression", required=True, help="such as 'tbabs*(apec+powerlaw)'")
    for option, kind, text in (
        ("--freeze", _value, "NAME=VALUE: keep a parameter at a value"),
        ("--link", _text_pair, "NAME=OTHER: a parameter equals another one"),
        ("--limits", _range, "NAME=LOW:HIGH: limits of a free parameter"),
    ):
        parser.add_argument(
            option, type=kind, action="append", default=[], metavar="NAME=…", help=text
        )
    parser.add_argument("--rmf", type=Path, help="redistribution matrix (default: RESPFILE)")
    parser.add_argument("--arf", type=Path, help="effective area (default: ANCRFILE)")
    parser.add_argument(
        "--energies", type=float, nargs=2, default=[3.0, 80.0], metavar=("LOW", "HIGH"),
        help="energies to fit, keV (default: 3 80)",
    )  # fmt: skip
    parser.add_argument(
        "--group-min", type=int, default=1, help="least counts per bin (default: 1)"
    )
    parser.add_argument(
        "--background-range", type=float, default=0.0, metavar="FRACTION",
        help="how far background norms may move (default: 0, fixed)",
    )  # fmt: skip
    parser.add_argument("--starts", type=int, default=8, help="starting points (default: 8)")
    parser.add_argument(
        "--errors", choices=("hessian", "profile"), default="hessian",
        help="errors from the curvature alone, or intervals by profile as well (default: hessian)",
    )  # fmt: skip
    parser.add_argument(
        "--delta",
        type=float,
        default=1.0,
        help="rise of C at the ends of an interval: 1 for 68 %%, 2.706 for 90 %% (default: 1)",
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    _add_physics(parser)


def _fit(args: argparse.Namespace) -> None:
    control = configuration.checked(
        configuration.FitControl,
        {
            "energies": args.energies,
            "group_min": args.group_min,
            "background_range": args.background_range,
            "starts": args.starts,
            "max_iterations": 500,
            "errors": args.errors,
            "delta": args.delta,
        },
        "icflow fit",
    )
    from icflow.stages import fit as interactive

    print(
        interactive.fit(
            args.spectrum,
            args.expression,
            dict(args.freeze),
            dict(args.link),
            dict(args.limits),
            args.rmf,
            args.arf,
            control,
            args.background,
            _atomic_data(args),
            args.output,
        )
    )


def _add_physics(parser: argparse.ArgumentParser) -> None:
    """Add what a model depends on besides its parameters."""
    parser.add_argument("--background", type=Path, metavar="FILE", help="background components")
    default = configuration.AtomicData()
    parser.add_argument(
        "--atomdb", default=default.folder, metavar="DIR", help="folder of the AtomDB tables"
    )
    parser.add_argument("--abundances", default=default.abundances, help="abundance table")
    parser.add_argument(
        "--cross-sections",
        default=default.cross_sections,
        choices=("bcmc", "obcm", "vern"),
        help="photoelectric cross sections",
    )


def _atomic_data(args: argparse.Namespace) -> configuration.AtomicData:
    return configuration.AtomicData(
        folder=args.atomdb, abundances=args.abundances, cross_sections=args.cross_sections
    )


def _text_pair(text: str) -> tuple[str, str]:
    """Read NAME=TEXT."""
    name, separator, value = text.partition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _value(text: str) -> tuple[str, float]:
    """Read NAME=NUMBER."""
    name, value = _text_pair(text)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{value!r} in {text!r} is not a number")
    return name, number


def _range(text: str) -> tuple[str, tuple[float, float]]:
    """Read NAME=LOW:HIGH."""
    name, value = _text_pair(text)
    try:
        low, high = (float(part) for part in value.split(":"))
    except ValueError:
        low = high = math.nan
    if not low < high:
        raise argparse.ArgumentTypeError(f"{value!r} in {text!r} is not LOW:HIGH")
    return name, (low, high)


# --- observations ------------------------------------------------------------------


def _add_observation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="name under observations in the configuration"
    )


def _add_observe(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "observe",
        _observe,
        "look for IC in an observation, write what is found and draw it (without --settings)",
    )
    _add_observation(parser)
    _add_settings(parser)
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder to write (default: results/observations/NAME)",
    )


def _observe(args: argparse.Namespace) -> None:
    from icflow import inputs
    from icflow.observation import analysis as observe
    from icflow.observation import networks as observed_networks
    from icflow.observation import page as observation
    from icflow.stages import figures, train

    if args.settings is not None:
        settings = configuration.from_json(settings_of.ObserveSettings, args.settings)
        output = args.output or observe.folder(settings.name)
        print(observe.run(settings, output, _networks(settings.networks, output)))
        return
    config = configuration.load(*args.config)
    name = _chosen(args.name, "NAME", config.observations)
    inputs.check_observation(config, name)
    folder = args.output or observe.folder(name)
    settings = settings_of.observe(config, name)
    networks = _networks(settings.networks, folder)
    for network, path in networks.items():
        if not (path / train.WEIGHTS).is_file():
            observed_networks.run(settings_of.observe_network(config, name, network), path)
    print(observe.run(settings, folder, networks))
    outputs = [folder / f"observation.{suffix}" for suffix in config.figures.formats]
    figures.write(lambda: observation.draw(folder), config.figures.dpi, outputs)


def _networks(names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Return the folders of the networks of an observation."""
    return {name: folder / "networks" / name for name in names}


def _add_observe_network(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "observe-network", _observe_network, "train a network for an observation"
    )
    _add_observation(parser)
    parser.add_argument(
        "--network", metavar="NAME", help="name under autoencoder.networks in the configuration"
    )
    _add_settings(parser)
    _add_threads(parser)
    _add_output(parser, "folder to write", metavar="DIR")


def _observe_network(args: argparse.Namespace) -> None:
    settings = _settings(
        args,
        settings_of.ObserveNetworkSettings,
        lambda config: settings_of.observe_network(
            config,
            _chosen(args.name, "NAME", config.observations),
            _chosen(args.network, "--network", config.autoencoder.networks),
        ),
    )
    from icflow.observation import networks as observed_networks

    observed_networks.run(settings, args.output, threads=args.threads)


def _add_observation_figure(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "observation-figure", _observation_figure, "draw the page of an observation"
    )
    _add_drawing(parser, "what `icflow observe` wrote")


def _observation_figure(args: argparse.Namespace) -> None:
    from icflow.observation import page as observation
    from icflow.stages import figures

    figures.write(lambda: observation.draw(args.folder), args.dpi, args.output)


# --- response files ----------------------------------------------------------------


def _add_responses(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "responses", _responses, "make response files from archival NuSTAR data"
    )
    _add_settings(parser)
    parser.add_argument("--name", help="name under responses in the configuration")
    parser.add_argument(
        "--scratch", type=Path, required=True, metavar="DIR", help="folder for screened events"
    )
    _add_output(parser, "folder for the files", metavar="DIR")


def _responses(args: argparse.Namespace) -> None:
    settings = _settings(
        args,
        settings_of.ResponseSettings,
        lambda config: settings_of.responses(
            config, _chosen(args.name, "--name", config.responses)
        ),
    )
    from icflow.stages import responses

    responses.run(settings, args.output, args.scratch)


# --- spectra and fits --------------------------------------------------------------


def _add_simulate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "simulate", _simulate, "simulate some spectra of a dataset")
    _add_settings(parser)
    parser.add_argument("--dataset", help="name under datasets in the configuration")
    parser.add_argument("--shard-first", type=int, required=True, help="index of the first one")
    parser.add_argument("--count", type=int, required=True, help="number of spectra")
    _add_output(parser, "type II PHA file to write")


def _simulate(args: argparse.Namespace) -> None:
    settings = _simulate_settings(args)
    from icflow.stages import simulate

    simulate.run(settings, args.shard_first, args.count, args.output)


def _simulate_settings(args: argparse.Namespace) -> settings_of.SimulateSettings:
    return _settings(
        args,
        settings_of.SimulateSettings,
        lambda config: settings_of.simulate(
            config, _chosen(args.dataset, "--dataset", config.datasets)
        ),
    )


def _add_label(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "label", _label, "fit training spectra to label the latents")
    _add_fit_arguments(parser)


def _label(args: argparse.Namespace) -> None:
    _run_fit(args, settings_of.label)


def _add_baseline(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "baseline", _baseline, "fit one model to every spectrum of a file")
    parser.add_argument("--fit", help="name under fits.baseline in the configuration")
    _add_fit_arguments(parser)


def _baseline(args: argparse.Namespace) -> None:
    _run_fit(
        args,
        lambda config: settings_of.baseline(
            config, _chosen(args.fit, "--fit", config.fits.baseline)
        ),
    )


def _add_integrate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "integrate",
        _integrate,
        "average the likelihood of every spectrum of a file over priors",
    )
    parser.add_argument("--integral", help="name under integrals in the configuration")
    _add_fit_arguments(parser)


def _integrate(args: argparse.Namespace) -> None:
    settings = _settings(
        args,
        settings_of.IntegralSettings,
        lambda config: settings_of.integrate(
            config, _chosen(args.integral, "--integral", config.integrals)
        ),
    )
    from icflow.stages import integrate

    integrate.run(settings, args.spectra, args.output)


def _add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    _add_settings(parser)
    parser.add_argument("spectra", type=Path, metavar="SPECTRA", help="type II PHA file")
    _add_output(parser, "ECSV table to write")


def _run_fit(args: argparse.Namespace, of: Callable[[Config], settings_of.FitSettings]) -> None:
    settings = _settings(args, settings_of.FitSettings, of)
    from icflow.stages import baseline as fit

    fit.run(settings, args.spectra, args.output)


def _chosen(name: str | None, option: str, known: Mapping[str, object]) -> str:
    """Return the name given with an option, which must be one of those in the configuration."""
    if name is None or name not in known:
        raise IcflowError(f"{option} is {name!r}, allowed: {', '.join(known)}")
    return name


# --- networks and detectors --------------------------------------------------------


def _add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "train", _train, "train one network in one fold")
    _add_fold_arguments(parser)
    _add_files(parser, "--spectra", "training spectra", required=True)
    _add_files(parser, "--labels", "their label fits", required=True)
    _add_threads(parser)
    _add_output(parser, "folder to write", metavar="DIR")


def _train(args: argparse.Namespace) -> None:
    settings = _settings(
        args,
        settings_of.TrainSettings,
        lambda config: settings_of.train(config, *_network_and_fold(args, config)),
    )
    from icflow.stages import train

    train.run(settings, args.spectra, args.labels, args.output, threads=args.threads)


def _add_score(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "score", _score, "score spectra with one trained network")
    _add_fold_arguments(parser)
    parser.add_argument("--weights", type=Path, required=True, help="weights.safetensors")
    parser.add_argument(
        "--spectra",
        type=_pair,
        nargs="+",
        required=True,
        metavar="DATASET=FILE",
        help="spectra of each dataset",
    )
    _add_files(
        parser, "--labels", "label fits, if the training spectra are scored",
        nargs="*", default=[],
    )  # fmt: skip
    _add_output(parser, "ECSV table to write")
    parser.add_argument("--reconstructions", type=Path, help="ECSV table of examples to write")


def _score(args: argparse.Namespace) -> None:
    settings = _settings(
        args,
        settings_of.ScoreSettings,
        lambda config: settings_of.score(config, *_network_and_fold(args, config)),
    )
    from icflow.stages import score

    score.run(
        settings,
        args.weights,
        _grouped(args.spectra),
        args.labels,
        args.output,
        args.reconstructions,
    )


def _add_fold_arguments(parser: argparse.ArgumentParser) -> None:
    _add_settings(parser)
    parser.add_argument("--network", help="name under autoencoder.networks in the configuration")
    parser.add_argument("--fold", type=int, default=0, help="number of the fold, from 0")


def _network_and_fold(args: argparse.Namespace, config: Config) -> tuple[str, int]:
    folds = config.autoencoder.training.folds
    if not 0 <= args.fold < folds:
        raise IcflowError(f"--fold is {args.fold}, allowed: 0 to {folds - 1}")
    return _chosen(args.network, "--network", config.autoencoder.networks), args.fold


def _add_evaluate(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "evaluate", _evaluate, "choose thresholds and measure every detector"
    )
    _add_settings(parser)
    for name, help_text in (
        ("--scores", "scores of the networks"),
        ("--fits", "fits of the test spectra"),
        ("--spectra", "test spectra"),
    ):
        _add_files(parser, name, help_text, nargs="*", required=True)
    _add_files(
        parser, "--integrals", "likelihoods of the spectra averaged over priors",
        nargs="*", default=[],
    )  # fmt: skip
    parser.add_argument("--output-scores", type=Path, required=True, help="ECSV table to write")
    parser.add_argument("--output-metrics", type=Path, required=True, help="JSON file to write")
    parser.add_argument(
        "--tables", type=Path, required=True, metavar="DIR", help="folder for the tables"
    )
    parser.add_argument(
        "--fluxes", type=Path, metavar="FILE", help="true fluxes of the test spectra"
    )
    parser.add_argument(
        "--output-validation",
        type=Path,
        metavar="FILE",
        help="ECSV table of the scores of the validation spectra to write",
    )


def _evaluate(args: argparse.Namespace) -> None:
    settings = _settings(args, settings_of.EvaluateSettings, settings_of.evaluate)
    from icflow.stages import evaluate

    evaluate.run(
        settings,
        args.scores,
        args.fits,
        args.integrals,
        args.spectra,
        args.output_scores,
        args.output_metrics,
        args.tables,
        args.fluxes,
        args.output_validation,
    )


def _add_scan(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "scan", _scan, "compare the evaluations at the points of a scan")
    _add_scan_arguments(parser)
    parser.add_argument(
        "--points",
        type=_pair,
        nargs="+",
        required=True,
        metavar="POINT=DIR",
        help="folder of the evaluation of each point",
    )
    _add_output(parser, "folder to write", metavar="DIR")


def _scan(args: argparse.Namespace) -> None:
    settings = _scan_settings(args)
    from icflow.stages import scan

    scan.run(settings, dict(args.points), args.output)


def _add_scan_figure(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "scan-figure", _scan_figure, "draw the figure of a scan")
    _add_scan_arguments(parser)
    _add_drawing(parser, "what `icflow scan` wrote")


def _scan_figure(args: argparse.Namespace) -> None:
    settings = _scan_settings(args)
    from icflow.publish.figures import scans
    from icflow.stages import figures

    figures.write(lambda: scans.draw(settings, args.folder), args.dpi, args.output)


def _add_scan_arguments(parser: argparse.ArgumentParser) -> None:
    _add_settings(parser)
    parser.add_argument("--name", help="name under scans in the configuration")


def _scan_settings(args: argparse.Namespace) -> settings_of.ScanSettings:
    return _settings(
        args,
        settings_of.ScanSettings,
        lambda config: settings_of.scan(config, _chosen(args.name, "--name", config.scans)),
    )


def _add_fluxes(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "fluxes", _fluxes, "tabulate the true fluxes of the test spectra")
    _add_settings(parser)
    parser.add_argument(
        "spectra", type=Path, nargs="+", metavar="SPECTRA", help="type II PHA files"
    )
    _add_output(parser, "ECSV table to write")


def _fluxes(args: argparse.Namespace) -> None:
    settings = _settings(args, settings_of.FluxSettings, settings_of.fluxes)
    from icflow.stages import fluxes

    fluxes.run(settings, args.spectra, args.output)


def _add_components(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "components", _components, "write the expected counts of a spectrum's components"
    )
    _add_settings(parser)
    parser.add_argument("--dataset", help="name under datasets in the configuration")
    parser.add_argument("--index", type=int, required=True, help="index of the spectrum")
    parser.add_argument("spectra", type=Path, metavar="SPECTRA", help="type II PHA file")
    _add_output(parser, "ECSV table to write")


def _components(args: argparse.Namespace) -> None:
    settings = _simulate_settings(args)
    from icflow.stages import components

    components.run(settings, args.spectra, args.index, args.output)


def _add_figure(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "figure", _figure, "draw one figure")
    parser.add_argument(
        "name", metavar="NAME", help="number of a figure of the paper, 1 to 8, or name of another"
    )
    _add_settings(parser)
    _add_files(
        parser, "--inputs", "files that it reads (default: those of results/ that it is made from)",
        nargs="*",
    )  # fmt: skip
    _add_images(parser)


def _figure(args: argparse.Namespace) -> None:
    from icflow.publish.figures import registry
    from icflow.publish.figures.base import FigureSettings
    from icflow.stages import figures

    settings = _settings(args, FigureSettings, lambda config: registry.settings(config, args.name))
    if args.inputs is None:
        config = configuration.load(*args.config)
        args.inputs = [Path("results", name) for name in registry.inputs(config, args.name)]
    figures.run(settings, args.inputs, args.output)


# --- after a run -------------------------------------------------------------------


def _add_record(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "record", _record, "write configuration, versions and checksums of a run"
    )
    _add_settings(parser)
    _add_output(parser, "JSON file to write")


def _record(args: argparse.Namespace) -> None:
    from icflow.stages import record

    record.run(_settings(args, Config, lambda config: config), args.output)


def _add_report(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "report", _report, "write the report of a finished run")
    _add_settings(parser)
    _add_results(parser)
    _add_output(parser, "HTML file to write")


def _report(args: argparse.Namespace) -> None:
    config = _settings(args, Config, lambda config: config)
    from icflow.publish import report

    report.run(config, args.results, args.output)


def _add_page(parser: argparse.ArgumentParser) -> None:
    """Add what a page of published results is made of, and where it goes."""
    _add_results(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("docs/results"),
        metavar="DIR",
        help="folder to write (default: docs/results)",
    )


def _add_results_page(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "results-page",
        _results_page,
        "write the page of results of a finished run, with its tables and figures",
    )
    _add_config(parser)
    _add_page(parser)


def _results_page(args: argparse.Namespace) -> None:
    config = configuration.load(*args.config)
    from icflow.publish import results_page

    for path in results_page.run(config, args.config, args.results, args.output):
        print(path)


def _add_scan_page(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "scan-page", _scan_page, "write the page of a finished scan, table and figure"
    )
    _add_config(parser)
    parser.add_argument("name", metavar="NAME", help="name under scans in the configuration")
    _add_page(parser)


def _scan_page(args: argparse.Namespace) -> None:
    config = configuration.load(*args.config)
    _chosen(args.name, "NAME", config.scans)
    from icflow.publish import scan_page

    for path in scan_page.run(config, args.name, args.config, args.results, args.output):
        print(path)


def _add_compare(commands: Commands[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "compare-engines",
        _compare,
        "test an XSPEC: the same spectra through both engines, a table and a figure",
    )
    _add_config(parser)
    parser.add_argument(
        "--count", type=int, default=3, help="spectra of each test dataset (default: 3)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/engines/comparison.ecsv"),
        help="ECSV table to write (default: results/engines/comparison.ecsv)",
    )
    parser.add_argument(
        "--figure",
        type=Path,
        nargs="+",
        metavar="FILE",
        default=[Path(f"results/engines/comparison.{suffix}") for suffix in ("pdf", "png")],
        help="files of the figure (default: beside the table, as PDF and PNG)",
    )


def _compare(args: argparse.Namespace) -> None:
    if args.count < 1:
        raise IcflowError(f"--count is {args.count}, allowed: 1 and more")
    config = configuration.load(*args.config)
    from icflow.stages import compare_engines as compare

    print(compare.run(config, args.count, args.output, args.figure))


if __name__ == "__main__":
    sys.exit(main())
