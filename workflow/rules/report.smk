# What the run was made with, and the report.
rule record:
    input:
        TABLES,
        FIGURES,
        INPUT_FILES,
    output:
        "results/run.json",
    log:
        "results/logs/record.log",
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(10),
    params:
        settings=CONFIG.json_text(),
        files=digests(),
        code=code("record", ENGINE_MODULE),
    message:
        "Record configuration, versions and checksums"
    shell:
        "icflow record --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"


rule write_report:
    input:
        TABLES,
        FIGURES,
        baseline_fits(),
        label_fits(),
        metrics="results/evaluation/metrics.json",
        record="results/run.json",
    output:
        "results/report.html",
    log:
        "results/logs/report.log",
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=CONFIG.json_text(),
        code=code("publish.report", data=["publish/templates/report.html.j2"]),
    message:
        "Write the report"
    shell:
        "icflow report --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"
