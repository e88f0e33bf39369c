# C-stat fits, one job per shard: the labels of the training spectra, and the baseline.
rule label:
    input:
        INPUT_FILES,
        spectra="results/spectra/{dataset}/shard-{shard}.pha",
    output:
        "results/labels/{dataset}/shard-{shard}.ecsv",
    log:
        "results/logs/label/{dataset}/shard-{shard}.log",
    benchmark:
        "results/benchmarks/label/{dataset}/shard-{shard}.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        settings=settings_of.label(CONFIG).json_text(),
        files=digests(),
        code=code("baseline", ENGINE_MODULE),
    message:
        "Fit the labels of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow label --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"


rule fit:
    input:
        INPUT_FILES,
        spectra="results/spectra/{dataset}/shard-{shard}.pha",
    output:
        "results/fits/{dataset}/{fit}/shard-{shard}.ecsv",
    log:
        "results/logs/fit/{dataset}/{fit}/shard-{shard}.log",
    benchmark:
        "results/benchmarks/fit/{dataset}/{fit}/shard-{shard}.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=lambda wildcards: settings_of.baseline(CONFIG, wildcards.fit).json_text(),
        files=digests(),
        code=code("baseline", ENGINE_MODULE),
    message:
        "Fit {wildcards.fit} to {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow baseline --settings {params.settings:q} --fit {wildcards.fit:q}"
        " --output {output:q} {input.spectra:q} >{log:q} 2>&1"
