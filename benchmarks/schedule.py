"""How busy XSPEC keeps the cores: the workflow with jobs that only sleep.

    python benchmarks/schedule.py                       # the DAG of 10,000 test spectra, then a run
    python benchmarks/schedule.py --targets simulate    # less of it, in less time

The configuration is config.yaml with config/xspec.yaml over it. First a dry run
with as many test spectra as `--dag` says: jobs, and CPU seconds to build their
graph. Then Snakemake runs the jobs of the default sizes on `--cores`. In place
of icflow a script sleeps as long as XSPEC 12.9.1 would take, `--faster` times
faster, and makes empty outputs. One job, a fit, is killed once, as by a node
that dies. Told are the part of the cores that was busy while there was work for
all of them, and how many jobs were made twice.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
# Seconds that a job takes to start XSPEC, and to simulate a spectrum and fit it: what was measured
# of plain fits, and what seeded ones are expected to take (docs/xspec.md). Other jobs: seconds.
START, FAKE, SEEDED, PLAIN = 12.0, 1.2, 3.0, 17.0
OTHERS = {"integrate": 10.0, "train": 1600.0, "score": 70.0}
SLEEP = r"""#!/bin/sh
# icflow COMMAND --settings JSON ... --output FILE ...
sum() { awk "BEGIN { print $1 }"; }
command=$1; settings=$3; count=100; output=
while [ $# -gt 0 ]; do
    case $1 in --output) output=$2 ;; --count) count=$2 ;; esac
    shift
done
case $command in
simulate) seconds=$(sum "$START + $count * $FAKE") ;;
label | baseline)
    each=$SEEDED
    case $settings in *'"strategy":"plain"'*) each=$PLAIN ;; esac
    seconds=$(sum "$START + $count * $each") ;;
integrate) seconds=$INTEGRATE ;;
train) seconds=$TRAIN ;;
score) seconds=$SCORE ;;
*) seconds=1 ;;
esac
begin=$(date +%s.%N)
sleep "$(sum "$seconds / $FASTER")"
# A node dies in the middle of a fit, once.
if [ "$command" = baseline ] && mkdir "$LOG.dead" 2>/dev/null; then kill -9 $$; fi
echo "$command $begin $(date +%s.%N) $output" >>"$LOG"
case $command in
train) mkdir -p "$output"; touch "$output/weights.safetensors" "$output/history.ecsv" ;;
*) touch "$output" ;;
esac
case $command in simulate) touch "${output%.pha}.truth.ecsv" ;; esac
case $command in score) touch "${output%.ecsv}-reconstructions.ecsv" ;; esac
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="how busy XSPEC keeps the cores")
    parser.add_argument("--dag", type=int, default=10_000, help="test spectra of the dry run")
    parser.add_argument("--cores", type=int, default=32)
    parser.add_argument("--faster", type=float, default=30.0, help="than the jobs would be")
    parser.add_argument("--targets", nargs="+", default=["simulate", "label", "baseline"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, args.dag)
        dry_run(folder, args.dag)
        run(folder, args)


def prepare(folder: Path, test: int) -> None:
    """Make a working directory, and an icflow that sleeps beside a Python of its own."""
    (folder / "bin").mkdir()
    (folder / "bin" / "icflow").write_text(SLEEP)
    (folder / "bin" / "icflow").chmod(0o755)
    # The rules call the icflow beside the Python that runs Snakemake.
    (folder / "bin" / "python").symlink_to(Path(sys.base_prefix, "bin", "python3"))
    (folder / "resources").symlink_to(ROOT / "resources")
    halves = {"test_2T": {"size": test // 2}, "test_1T+IC": {"size": test // 2}}
    (folder / "many.yaml").write_text(yaml.safe_dump({"datasets": halves}))


def snakemake(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    paths = [str(ROOT / "src"), sysconfig.get_path("purelib")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables
    command = [str(folder / "bin" / "python"), "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    return subprocess.run(
        [*command, *words],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def configured(*more: str | Path) -> list[str]:
    files = [ROOT / "config.yaml", ROOT / "config" / "xspec.yaml", *more]
    return ["--configfile", *map(str, files)]


def dry_run(folder: Path, test: int) -> None:
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    words = ["--cores", "32", "--dry-run", "--quiet", "rules", *configured("many.yaml")]
    done = snakemake(folder, *words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout
    total = next(line.split()[1] for line in done.stdout.splitlines() if line[:5] == "total")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{test:,} test spectra: {total} jobs, dry run {cpu:.1f} CPU s, "
        f"{time.monotonic() - begin:.1f} s on this machine",
        flush=True,
    )


def run(folder: Path, args: argparse.Namespace) -> None:
    log = folder / "log"
    numbers = {"START": START, "FAKE": FAKE, "SEEDED": SEEDED, "PLAIN": PLAIN}
    numbers |= {name.upper(): value for name, value in OTHERS.items()} | {"FASTER": args.faster}
    variables = {name: str(value) for name, value in numbers.items()} | {"LOG": str(log)}
    words = ["--cores", str(args.cores), "--keep-going", "--retries", "1", "--quiet", "all", "--"]
    done = snakemake(folder, *configured(), *words, *args.targets, **variables)
    assert done.returncode == 0, done.stdout[-3000:]
    rows = [line.split() for line in log.read_text().splitlines()]
    spans = [(float(begin), float(end)) for _, begin, end, _ in rows]
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    # The last job to begin: until then there was work for every core.
    filled = max(begin for begin, _ in spans)
    for what, until in (("until the last job began", filled), ("until the last job ended", last)):
        busy = sum(max(min(end, until) - begin, 0.0) for begin, end in spans)
        share = busy / (args.cores * (until - first))
        print(f"{share:.1%} of {args.cores} cores busy {what}, {until - first:.0f} s")
    seconds = (last - first) * args.faster
    print(f"as long as the jobs would be: {seconds / 3600:.1f} h")
    outputs = [output for *_, output in rows]
    twice = len(outputs) - len(set(outputs))
    print(f"{len(set(outputs))} jobs, one of which was killed: {twice} others were made twice")


if __name__ == "__main__":
    main()
