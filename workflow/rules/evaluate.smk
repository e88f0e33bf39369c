# Thresholds, decisions on the test spectra, Table 1.
TABLES = [f"results/tables/table1.{suffix}" for suffix in ("csv", "tex", "md")]
TEST_SPECTRA = [shard for dataset in CONFIG.detection.test for shard in spectra(dataset)]


rule evaluate:
    input:
        scores=SCORES,
        fits=baseline_fits(),
        spectra=TEST_SPECTRA,
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
        settings=CONFIG.evaluate().json_text(),
        code=code("evaluate"),
    message:
        "Evaluate the detectors"
    shell:
        "icflow evaluate --settings {params.settings:q} --scores {input.scores:q}"
        " --fits {input.fits:q} --spectra {input.spectra:q}"
        " --output-scores {output.scores:q} --output-metrics {output.metrics:q}"
        " --tables results/tables >{log:q} 2>&1"
