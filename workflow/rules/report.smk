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
        mem_mb=1000,
        runtime=10,
    params:
        settings=CONFIG.json_text(),
        files=digests(),
        code=code("record"),
    shell:
        "icflow record --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"
