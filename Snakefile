# Is there inverse Compton emission in a galaxy cluster's spectrum?
# From simulated spectra to Table 1, Figures 1 to 8 and a report: snakemake --cores 2
from snakemake.utils import min_version

min_version("9.10")


configfile: "config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/responses.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/fit.smk"
include: "workflow/rules/integrate.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/scan_files.smk"
include: "workflow/rules/scan.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/observe.smk"


localrules:
    all,
    responses,
    simulations,
    labels,
    baseline,
    networks,
    table1,
    figures,
    report,
    observations,
    scans,
    background_scan,
    prior_scan,
    exposure_scan,


rule all:
    default_target: True
    input:
        TABLES,
        FIGURES,
        "results/run.json",
        "results/report.html",


rule responses:
    input:
        RESPONSES,


rule simulations:
    input:
        [shard for dataset in CONFIG.datasets for shard in spectra(dataset)],


rule labels:
    input:
        label_fits(),


rule baseline:
    input:
        baseline_fits(),


rule networks:
    input:
        WEIGHTS,


rule table1:
    input:
        TABLES,


rule figures:
    input:
        FIGURES,


rule report:
    input:
        "results/report.html",


rule observations:
    input:
        lambda wildcards: observation_files(),


rule scans:
    input:
        lambda wildcards: scan_files(*CONFIG.scans),


rule background_scan:
    input:
        lambda wildcards: scan_files("background"),


rule prior_scan:
    input:
        lambda wildcards: scan_files("prior"),


rule exposure_scan:
    input:
        lambda wildcards: scan_files("exposure"),


onstart:
    hold_lock()
