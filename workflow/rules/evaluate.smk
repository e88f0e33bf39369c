# Thresholds, decisions on the test spectra, Table 1, differences between detectors.
rule fluxes:
    input:
        INPUT_FILES,
        settings_of.fluxes(CONFIG).shards.files(RESULTS.truth),
    output:
        RESULTS.fluxes(),
    log:
        RESULTS.log(RESULTS.fluxes()),
    benchmark:
        RESULTS.benchmark(RESULTS.fluxes())
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("fluxes"),
        files=digests(),
        code=code("fluxes"),
    message:
        "Tabulate the true fluxes of the test spectra"
    shell:
        "icflow fluxes --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"


rule evaluate:
    input:
        EVALUATION.paths,
    output:
        RESULTS.judged,
        RESULTS.metrics,
        RESULTS.tables,
    log:
        RESULTS.log(RESULTS.metrics.parent),
    benchmark:
        RESULTS.benchmark(RESULTS.metrics.parent)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("evaluate"),
        code=code("evaluate"),
        tables=RESULTS.tables[0].parent,
        folder=subpath(output[0], parent=True),
    message:
        "Evaluate the detectors"
    shell:
        "icflow evaluate --settings {params.settings:q} --output {params.folder:q}"
        " --tables {params.tables:q} >{log:q} 2>&1"
