# What the run was made with, and the report.
rule record:
    input:
        INPUT_FILES,
        RESULTS.tables,
        FIGURES,
    output:
        RESULTS.record,
    log:
        RESULTS.log(RESULTS.record.with_name("record")),
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=literal(CONFIG.json_text()),
        files=digests(),
        code=code("record", ENGINE_MODULE),
    message:
        "Record configuration, versions and checksums"
    shell:
        "icflow record --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"


rule report:
    input:
        RESULTS.tables,
        FIGURES,
        LABELS,
        FITS,
        RESULTS.metrics,
        RESULTS.record,
    output:
        RESULTS.report,
    log:
        RESULTS.log(RESULTS.report),
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=literal(CONFIG.json_text()),
        code=code("report", data=["publish/templates/report.html.j2"]),
    message:
        "Write the report"
    shell:
        "icflow report --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"
