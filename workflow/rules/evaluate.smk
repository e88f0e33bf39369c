# Thresholds, decisions on the test spectra, Table 1, differences between detectors.
TABLES = [
    *(f"results/tables/table1.{suffix}" for suffix in ("csv", "tex", "md")),
    *(f"results/tables/differences.{suffix}" for suffix in ("csv", "md")),
]
TEST_SPECTRA = [shard for dataset in CONFIG.detection.test for shard in spectra(dataset)]


rule fluxes:
    input:
        INPUT_FILES,
        spectra=TEST_SPECTRA,
    output:
        "results/evaluation/fluxes.ecsv",
    log:
        "results/logs/fluxes.log",
    benchmark:
        "results/benchmarks/fluxes.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings_of.fluxes(CONFIG).json_text(),
        files=digests(),
        code=code("fluxes"),
    message:
        "Tabulate the true fluxes of the test spectra"
    shell:
        "icflow fluxes --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"


rule evaluate:
    input:
        scores=SCORES,
        fits=baseline_fits(),
        integrals=integrals(INTEGRALS),
        spectra=TEST_SPECTRA,
        fluxes="results/evaluation/fluxes.ecsv",
    output:
        tables=TABLES,
        scores="results/evaluation/scores.ecsv",
        metrics="results/evaluation/metrics.json",
    log:
        "results/logs/evaluate.log",
    benchmark:
        "results/benchmarks/evaluate.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings_of.evaluate(CONFIG).json_text(),
        code=code("evaluate"),
    message:
        "Evaluate the detectors"
    shell:
        "icflow evaluate --settings {params.settings:q} --scores {input.scores:q}"
        " --fits {input.fits:q}"
        " --integrals {input.integrals:q} --spectra {input.spectra:q}"
        " --output-scores {output.scores:q} --output-metrics {output.metrics:q}"
        " --tables results/tables --fluxes {input.fluxes:q} >{log:q} 2>&1"
