# Is there inverse Compton emission in a galaxy cluster's spectrum?
# From simulated spectra to Table 1, Figures 1 to 8 and a report: snakemake --cores 2
from snakemake.utils import min_version

min_version("9.10")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/responses.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/baseline.smk"
include: "workflow/rules/integrate.smk"
include: "workflow/rules/ratio.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/scan.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/observe.smk"


# The targets. A target, the command of its jobs, their code in src/icflow/stages and their folder
# in results/ have one name; `fluxes`, `evaluate`, `record` and `report` are single jobs.
# Exceptions: `responses` writes into resources/, `record` run.json, `report` report.html, `evaluate`
# into tables/ too; jobs of `observe` and `scan` have several commands, and one folder for each name.
localrules:
    all,
    responses,
    simulate,
    label,
    baseline,
    integrate,
    ratio,
    estimate,
    train,
    score,
    figures,
    observe,
    scan,
    renamed,


rule all:
    default_target: True
    input:
        # Where scores are there, weights that an interrupted training has lost would not be missed.
        WEIGHTS,
        RESULTS.tables,
        FIGURES,
        RESULTS.record,
        RESULTS.report,


rule responses:
    input:
        expand(
            "resources/responses/{response}.{suffix}",
            response=CONFIG.responses,
            suffix=["rmf", "arf", "pha"],
        ),


rule simulate:
    input:
        settings_of.shards(CONFIG, list(CONFIG.datasets)).files(RESULTS.spectra),


rule label:
    input:
        LABELS,


rule baseline:
    input:
        FITS,


rule integrate:
    input:
        files_of(EVALUATION.results["integrals"]),


rule ratio:
    input:
        [RESULTS.ratio_weights(name) for name in CONFIG.ratios],


rule estimate:
    input:
        files_of(EVALUATION.results["ratios"]),


rule train:
    input:
        WEIGHTS,


rule score:
    input:
        files_of(EVALUATION.scores),


rule figures:
    input:
        FIGURES,


rule observe:
    input:
        lambda wildcards: observed(),


rule scan:
    input:
        lambda wildcards: scanned(),


# What targets of earlier versions are called now; docs/workflow.md has the commands too.
RENAMED = {
    "simulations": "simulate",
    "labels": "label",
    "networks": "train",
    "table1": "evaluate",
    "observations": "observe",
    "scans": "scan",
    **dict.fromkeys(["background_scan", "prior_scan", "exposure_scan"], "scan"),
}


rule renamed:
    input:
        lambda wildcards: renamed(wildcards.target),
    output:
        "{target}",
    wildcard_constraints:
        target=one_of(RENAMED),


onstart:
    hold_lock()
    if workflow.local_exec:
        # Its limit of jobs a second makes Snakemake choose jobs when one ends and every second, once more
        # for each job that has ended: of long runs that takes a core.
        workflow.scheduler.job_rate_limiter = None
    # What killed jobs have left half-written.
    remove_leftovers(RESULTS.root)
