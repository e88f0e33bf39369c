from __future__ import annotations

import errno
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from icflow import cli
from icflow.errors import IcflowError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", [command.name for command in cli.COMMANDS])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*name.split(), "--help"]) == 0
    assert f"Usage: icflow {name}" in capsys.readouterr().out
    stage = importlib.util.find_spec(f"icflow.{cli.GROUP.commands[name].stage}")
    assert stage is not None, "a command has the name of its stage"


def test_every_stage_is_a_command() -> None:
    stages = {path.stem for path in (ROOT / "src/icflow/stages").glob("[!_]*.py")}
    assert stages == {command.stage.removeprefix("stages.") for command in cli.COMMANDS}
    assert {re.sub("[- ]", "_", str(command.name)) for command in cli.COMMANDS} == stages


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["simulat"], "there is no command 'simulat', did you mean simulate?"),
        (["background", "fti"], "icflow background is followed by import or fit"),
        (["background", "fit", "a.pha"], "Missing option '--source' (see icflow background fit"),
        (["figure", "1"], "icflow figure is called icflow figures now"),
        (["simulate"], "Missing option '--shard-first' (see icflow simulate --help)"),
        (["predict", "apec", "--set", "kT"], "'kT' is not NAME=NUMBER"),
        (["predict", "apec", "--set", "kT=hot"], "'hot' in 'kT=hot' is not NUMBER"),
        (["fit", "a.pha", "--expression", "apec", "--limits", "kT=2:1"], "is not LOW:HIGH"),
        (["train", "--output", "x", "--settings", "{}", "--fold", "1"], "--settings says what"),
        (["validate", "--config"], "'--config' requires an argument"),
        (["validate", "a.yaml", "b.yaml"], "write --config a.yaml b.yaml (see icflow validate"),
        (["scan-page", "prior", "a.yaml"], "there is no place for a.yaml; if the configuration"),
        (["observe", "coma", "a.yaml"], "there is no place for a.yaml; if the configuration"),
        (["schema", "a.yaml"], "Got unexpected extra argument (a.yaml) (see icflow schema"),
    ],
)
def test_bad_usage_exits_with_2_and_one_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("icflow: error: ")
    assert words in error
    assert error.count("\n") == 1


def test_stages_refuse_results_of_an_earlier_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old/scans").mkdir(parents=True)
    config = ["--config", str(ROOT / "config.yaml")]
    for words in (
        ["train", "--network", "cae", "--output", str(tmp_path / "new")],
        ["figures", "1", "--output", str(tmp_path / "figure1.png")],
        ["results-page", "--output", str(tmp_path / "new")],
    ):
        assert cli.main([*words, *config, "--results", str(tmp_path / "old")]) == 1
        assert "old: holds scans, folders of results made by an earlier" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_nothing_is_written_among_results_of_an_earlier_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results/fits").mkdir(parents=True)
    Path("results/run.json").write_text("old")
    config = ["--config", str(ROOT / "config.yaml")]
    for words in (
        ["record", *config, "--output", "results/run.json"],
        ["record", *config, "--output", str(tmp_path / "results/run.json")],
        ["compare-engines", *config],
    ):
        assert cli.main(words) == 1
        assert "results: holds fits, folders of results made by" in capsys.readouterr().err
    assert Path("results/run.json").read_text() == "old"
    assert {path.name for path in Path("results").iterdir()} == {"fits", "run.json"}


def test_a_subcommand_imports_no_stage_but_its_own() -> None:
    code = "import sys, icflow.cli; icflow.cli.main(['schema']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (IcflowError("c.yaml: seed: is 'x'"), 1, "c.yaml: seed: is 'x'"),
        (OSError(errno.ENOSPC, "No space left on device", "a.pha"), 1, "a.pha: no disk space left"),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "no disk space left"),
        (RuntimeError("write failed: No space left on device"), 1, "no disk space left"),
        (OSError("Not enough space on disk: requested 9, available 0"), 1, "no disk space left"),
        (PermissionError(errno.EACCES, "Permission denied", "a.pha"), 1, "a.pha: Permission"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_sentence(
    error: BaseException,
    status: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("icflow.stages.fetch.run", fail)
    assert cli.main(["fetch"]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"icflow: error: {words}")
    assert captured.err.count("\n") == 1
    assert cli.main(["--debug", "fetch"]) == status
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
def test_to_be_told_twice_to_end_is_no_fault(number: int) -> None:
    code = (
        "import atexit, os, signal, sys\nfrom icflow import cli\n"
        # Whoever runs these tests in the background has interrupts ignored, as children do.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"again = lambda *_, **__: os.kill(os.getpid(), {number:d})\n"
        "import icflow.stages.schema as stage\natexit.register(again)\nstage.run = again\n"
        "sys.argv[1:] = ['schema']\nsys.exit(cli.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode in (143, 130)
    assert "Traceback" not in done.stderr
    assert done.stderr in ("", "icflow: error: interrupted\n")


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("icflow.stages.fetch.run", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["fetch"])


SIMULATE = ["simulate", "--shard-first", "0", "--count", "1", "--output", "x.pha"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*SIMULATE, "--settings", "{"], "--settings is not JSON"),
        ([*SIMULATE, "--settings", "[" * 100_000], "--settings is not JSON"),
        ([*SIMULATE, "--settings", '{"sed": 1}'], "--settings: sed: unknown key"),
        ([*SIMULATE, "--config", "none.yaml"], "none.yaml: cannot be read"),
        ([*SIMULATE, "--dataset", "train"], "--dataset is 'train', allowed: train_2T"),
        (
            ["scan", "--name", "seen", "--config", "config.yaml", "--output", "x"],
            "--name is a name under scans, where there is none; add it there",
        ),
        (
            ["baseline", "--fit", "2T_fixd", "--output", "x", "y"],
            "--fit is '2T_fixd', allowed: 2T_fixed, 1T+IC_fixed, 2T_free, 1T+IC_free, "
            "2T_fixed_plain, 1T+IC_fixed_plain, 2T_free_plain, 1T+IC_free_plain; did you mean "
            "2T_fixed?",
        ),
        ([*SIMULATE], "--dataset is missing, allowed: train_2T"),
        (["observe", "mine"], "NAME is a name under observations, where there is none; add it"),
        (["baseline", "--fit", "3T", "--output", "x", "y"], "--fit is '3T', allowed: 2T_fixed"),
        (["fetch", "apec"], "there is no resource 'apec'"),
        # What is to be written, before what is to be read.
        (["baseline", "--output", "/dev/null", "none.pha"], "/dev/null: is there and not a file"),
        (
            ["predict", "po", "--rmf", "none", "--exposure", "1", "--output", "/dev/null"],
            "/dev/null",
        ),
        (["observe", "--output", "/dev/null"], "/dev/null: is there and no folder; name another"),
        (["validate", "--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_bad_arguments_exit_with_1_and_leave_nothing(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text((ROOT / "config.yaml").read_text())
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"icflow: error: {words}")
    assert error.count("\n") == 1
    assert os.listdir(tmp_path) == ["config.yaml"]


def test_validate_names_a_parameter_that_xspec_does_not_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("scenarios: {2T: {parameters: {apec.temperature: 5.0}}}\n")
    assert cli.main(["validate", "--config", "config.yaml", str(wrong)]) == 1
    error = capsys.readouterr().err
    assert "scenarios.2T.parameters.apec.temperature" in error
    assert "apec.kT" in error


@pytest.mark.parametrize("command", [["validate"], ["observe", "coma"]])
def test_outside_of_a_project_it_says_how_to_make_one(
    command: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(command) == 1
    assert "or make one with `icflow init FOLDER`" in capsys.readouterr().err


def test_validate_accepts_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert cli.main(["validate"]) == 0
    assert capsys.readouterr().out == "config.yaml: valid\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "icflow.cli", "schema"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_imports_are_not_searched_for_circles() -> None:
    code = """
import gc, icflow.cli
before = gc.get_stats()[0]["collections"]
icflow.cli.main(["schema"])
print(gc.get_stats()[0]["collections"] - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout.splitlines()[-1]) < 5


def test_what_is_left_at_the_end_is_not_searched_for_circles() -> None:
    code = """
import atexit, gc, sys, icflow.cli
atexit.register(lambda: print(gc.get_freeze_count() > 0))
sys.argv = ["icflow", "--version"]
sys.exit(icflow.cli.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
