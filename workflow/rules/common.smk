# The checked configuration, and what the rules share.
import atexit
import functools
import gc
import os
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

try:
    from filelock import Timeout

    from icflow import config as configuration
    from icflow import checks, inputs, layout, provenance
    from icflow import settings as settings_of
    from icflow.detection.input_files import InputFiles, files_of, fit_files
    from icflow.engines import registry as engines
    from icflow.engines.xspec import version
    from icflow.errors import IcflowError
    from icflow.files import canonical_json, process_lock, remove_leftovers
    from icflow.publish.figures import registry
except ImportError as error:
    raise WorkflowError(
        f"{error}: Snakemake runs in {sys.prefix}, where icflow is not installed; "
        "run `pip install .` there, or use `make run`"
    )

# At its end Snakemake need not look for circles of objects in all that it holds.
atexit.register(gc.freeze)
# Jobs call the icflow that belongs to this Python, whether or not its environment is active.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

if not os.access(os.getcwd(), os.W_OK):
    raise WorkflowError(
        f"{os.getcwd()} cannot be written: start Snakemake in a folder of yours "
        "(--directory FOLDER), where results/ will be made"
    )


def layers():
    """Return what config.yaml, files and words of the command line say, one laid over the other.

    As `icflow validate` lays them, which refuses a key that is given twice, and what is said of
    `instrument` holds for each of its modules; Snakemake's `config` has the last that was said.
    """
    above = workflow.config_settings.configfiles
    below = workflow.configfiles[len(above) :]
    tree = configuration.read_layers([*below, *above])
    return configuration.overlay(tree, workflow.config_settings.config)


try:
    CONFIG = configuration.validate(layers(), "configuration")
    # SHA-256 of every file that the run reads and does not make, and of each observation.
    DIGESTS, OBSERVED = checks.check(CONFIG)
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        inputs.check_images(CONFIG)
except IcflowError as error:
    raise WorkflowError(str(error))


def given(paths):
    """Return files of the user as inputs: content counts, through `params`, time stamps do not.

    Snakemake takes braces in a name for a wildcard; no rule makes a file of such a name, and
    that it is there has been checked.
    """
    return ancient([path for path in paths if not re.search(r"[{}]", path)])


INPUT_FILES = given(DIGESTS)
# Redistribution matrices, which give the energies of channels.
RMFS = [os.path.normpath(module.rmf) for module in CONFIG.modules]
RESULTS = layout.Layout()
IMAGE = CONFIG.containers.heasoft if CONFIG.engine == "xspec" else CONFIG.containers.icflow
ENVIRONMENT = f"../../envs/{'heasoft' if CONFIG.engine == 'xspec' else 'icflow'}.yaml"


# Of all rules that name no other.
container: CONFIG.containers.icflow


def one_of(names):
    """Return what a wildcard matches that stands for one of some names, of none if there are none."""
    return "|".join(re.escape(name) for name in names) or "(?!)"


wildcard_constraints:
    dataset=one_of(CONFIG.datasets),
    fit=one_of(CONFIG.fits.baseline),
    integral=one_of(CONFIG.integrals),
    ratio=one_of(CONFIG.ratios),
    network=one_of(CONFIG.autoencoder.networks),
    observation=one_of(CONFIG.observations),
    scan=one_of(CONFIG.scans),
    point=one_of(point.name for scan in CONFIG.scans.values() for point in scan.points),
    shard=r"\d+",
    fold=r"\d+",


# --- files ---------------------------------------------------------------------------

# What the evaluation of the run reads, and the spectra that networks are trained with.
EVALUATION = InputFiles.of(settings_of.evaluate(CONFIG), RESULTS)
TRAINING = settings_of.trained(CONFIG)

# What stages make of all spectra, networks and figures.
LABELS = settings_of.shards(CONFIG, [CONFIG.detection.training]).files(RESULTS.labels)
FITS = files_of(fit_files(CONFIG, RESULTS))
WEIGHTS = [RESULTS.weights(network, fold) for network, fold in EVALUATION.scores]
FIGURES = [path for name in registry.FIGURES for path in registry.outputs(CONFIG, name, RESULTS)]


def observed():
    """What is made of all observations; refuses if there are none."""
    if not OBSERVED:
        raise WorkflowError("observations: names none; add one as docs/observe.md shows")
    made = []
    for folder in map(RESULTS.observation, OBSERVED):
        made += [folder / layout.SUMMARY, *layout.images_of(folder, CONFIG.figures.formats)]
    return made


def shown(wildcards):
    """Index of the spectrum of a dataset whose components are shown: of clusters the first."""
    return CONFIG.figures.example if wildcards.dataset in CONFIG.detection.test else 0


def scanned():
    """What is made of all scans; refuses if there are none."""
    if not CONFIG.scans:
        raise WorkflowError(
            "scans: names none; add a file of config/scans after --configfile config.yaml"
        )
    made = []
    for folder in map(RESULTS.scan, CONFIG.scans):
        made += [folder / name for name in layout.COMPARED]
        made += layout.figures_of(folder, CONFIG.figures.formats)
    return made


def renamed(target):
    """Say what a target of an earlier version is called now."""
    raise WorkflowError(f"the target {target} is called {RENAMED[target]} now")


# --- resources ---------------------------------------------------------------------------


def growing(amount):
    """Ask for `amount` of a resource, and for that much more every time that a job failed."""
    return lambda wildcards, attempt: amount * attempt


# --- what makes a job's result out of date ---------------------------------------------


def settings(stage, *names, **known):
    """What a stage needs of the configuration, as JSON; the wildcards of some names choose it.

    What is `known` of the machine besides is laid over it.
    """

    @functools.cache
    def derive(*values):
        chosen = getattr(settings_of, stage)(CONFIG, *values)
        return chosen.model_copy(update=known).json_text()

    def of(wildcards):
        chosen = [wildcards[name] for name in names]
        return derive(*(int(v) if n == "fold" else v for n, v in zip(names, chosen)))

    return of


def xspec_version():
    """The version of the XSPEC behind the jobs; none where it is asked by none or cannot be."""
    deployment = workflow.deployment_settings.deployment_method
    if CONFIG.engine != "xspec" or DeploymentMethod.CONDA in deployment:
        return None
    memory = Path(".snakemake/icflow-xspec.json")
    if not workflow.is_main_process:
        # A job on a node, which may have another one: what counts is that of the run.
        return version.kept(memory)[1] or None
    image = IMAGE if DeploymentMethod.APPTAINER in deployment else None
    return version.known(memory, image) or None


XSPEC = xspec_version()

# The engine is imported by its name in the registry, not by an import statement.
ENGINE_MODULE, _ = engines.ENGINES[CONFIG.engine]


def code(stage, *others, **data):
    """SHA-256 of the sources that a stage, or a module, consists of: an edit to them reruns it."""
    name = stage if "." in stage else f"icflow.stages.{stage}"
    return provenance.code_digest([name, *others], **data)


def code_of_fit(stage, *names):
    """The same of a fit, with the engines behind it; the wildcards of some names choose it."""

    @functools.cache
    def digest(*chosen):
        fit = getattr(settings_of, stage)(CONFIG, *chosen)
        return code(stage, *engines.modules_of(CONFIG.engine, fit.strategy))

    return lambda wildcards: digest(*(wildcards[name] for name in names))


def digests(*paths):
    """SHA-256 of some input files, of all of them by default, as JSON."""
    return literal(canonical_json({path: DIGESTS[path] for path in paths or DIGESTS}))


def literal(text):
    """Return text for `params` in which braces are no wildcards: what a function gives has none."""
    return lambda wildcards: text


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
