# The checked configuration, and what the rules share.
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

try:
    from filelock import Timeout

    from icflow import config as configuration
    from icflow import inputs, provenance
    from icflow import settings as settings_of
    from icflow.detection import detectors
    from icflow.detection.scan import check as check_scans
    from icflow.engines.registry import ENGINES
    from icflow.errors import IcflowError
    from icflow.files import canonical_json, process_lock
    from icflow.publish.figures import registry
except ImportError as error:
    raise WorkflowError(
        f"{error}: Snakemake runs in {sys.prefix}, where icflow is not installed; "
        "run `pip install .` there, or use `make run`"
    )

# Jobs call the icflow that belongs to this Python, whether or not its environment is active.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

if not os.access(os.getcwd(), os.W_OK):
    raise WorkflowError(
        f"{os.getcwd()} cannot be written: start Snakemake in a folder of yours "
        "(--directory FOLDER), where results/ will be made"
    )

try:
    CONFIG = configuration.validate(config, "configuration")
    # SHA-256 of every file that the run reads and does not make: {path: digest}.
    DIGESTS = inputs.check_all(CONFIG)
    # The same for each observation.
    OBSERVED = {name: inputs.check_observation(CONFIG, name) for name in CONFIG.observations}
    detectors.check_names(CONFIG)
    # Fits besides the labels: {(dataset, fit): number of spectra}.
    FITS = detectors.fits_read(CONFIG)
    # The same of integrals.
    INTEGRALS = detectors.integrals_needed(CONFIG.detection, CONFIG.datasets)
    check_scans(CONFIG)
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        inputs.check_images(CONFIG)
except IcflowError as error:
    raise WorkflowError(str(error))

# Their content counts, through `params`; their time stamps do not.
INPUT_FILES = ancient(list(DIGESTS))

IMAGE = CONFIG.containers.heasoft if CONFIG.engine == "xspec" else CONFIG.containers.icflow
ENVIRONMENT = f"../../envs/{'heasoft' if CONFIG.engine == 'xspec' else 'icflow'}.yaml"


wildcard_constraints:
    dataset="|".join(re.escape(name) for name in CONFIG.datasets),
    fit="|".join(re.escape(name) for name in CONFIG.fits.baseline),
    integral="|".join(re.escape(name) for name in CONFIG.integrals),
    network="|".join(re.escape(name) for name in CONFIG.autoencoder.networks),
    observation="|".join(re.escape(name) for name in CONFIG.observations),
    shard=r"\d+",
    fold=r"\d+",


# --- files ---------------------------------------------------------------------------


def sharded(pattern, dataset, number=None):
    """Paths of the shards that hold the first spectra of a dataset, all by default."""
    return [f"{pattern}/shard-{shard:04d}" for shard in CONFIG.shards(dataset, number)]


def spectra(dataset, number=None):
    """Files of the first spectra of a dataset, all by default."""
    return [f"{shard}.pha" for shard in sharded(f"results/spectra/{dataset}", dataset, number)]


def training_shards(paths):
    """Those of the training dataset's shards, in order, that the networks are trained with."""
    return paths[
        : len(CONFIG.shards(CONFIG.detection.training, CONFIG.autoencoder.training.spectra))
    ]


def label_fits():
    """Label fits of the training dataset."""
    dataset = CONFIG.detection.training
    return [f"{shard}.ecsv" for shard in sharded(f"results/labels/{dataset}", dataset)]


def baseline_fits():
    """Fits that detectors read."""
    return [
        f"{shard}.ecsv"
        for (dataset, fit), number in FITS.items()
        for shard in sharded(f"results/fits/{dataset}/{fit}", dataset, number)
    ]


def integrals(wanted):
    """Files of integrals: {(dataset, integral): number of spectra}."""
    return [
        f"{shard}.ecsv"
        for (dataset, integral), number in wanted.items()
        for shard in sharded(f"results/integrals/{dataset}/{integral}", dataset, number)
    ]


def per_fold(pattern):
    """Paths with {network} and {fold} filled in for every network that is trained."""
    return expand(
        pattern,
        network=CONFIG.autoencoder.networks,
        fold=range(CONFIG.autoencoder.training.folds_trained),
    )


def observation_files():
    """What is made of all observations; refuses if there are none."""
    if not OBSERVED:
        raise WorkflowError("observations: names none; add one as docs/observe.md shows")
    return expand(
        "results/observations/{observation}/{file}",
        observation=OBSERVED,
        file=["summary.json", *(f"observation.{suffix}" for suffix in CONFIG.figures.formats)],
    )


# --- resources ---------------------------------------------------------------------------


def growing(amount):
    """Ask for `amount` of a resource, and for that much more every time that a job failed."""
    return lambda wildcards, attempt: amount * attempt


# --- what makes a job's result out of date ---------------------------------------------

# The engine is imported by its name in the registry, not by an import statement.
ENGINE_MODULE, _ = ENGINES[CONFIG.engine]


def code(stage, *others, **data):
    """SHA-256 of the sources that a stage consists of: an edit to one of them reruns it."""
    stage = stage if "." in stage else f"stages.{stage}"
    return provenance.code_digest([f"icflow.{stage}", *others], **data)


def digests(*paths):
    """SHA-256 of some input files, of all of them by default, as JSON."""
    return canonical_json({path: DIGESTS[path] for path in paths or DIGESTS})


# --- one run at a time -----------------------------------------------------------------


def hold_lock():
    """Refuse to run beside another Snakemake in the same working directory.

    Snakemake's own locks outlive a killed run and then need `--unlock`, so the default
    profile turns them off; this one ends with its process, however that ends.
    """
    global LOCK
    LOCK = process_lock(".snakemake/icflow.lock")
    try:
        LOCK.acquire(blocking=False)
    except Timeout:
        raise WorkflowError(
            f"another Snakemake is running in {os.getcwd()}; wait for it, or stop it"
        )
    except OSError:
        pass  # a file system without locks
