# Spectra with known parameters, one file per shard.
rule simulate:
    input:
        INPUT_FILES,
    output:
        "results/spectra/{dataset}/shard-{shard}.pha",
    log:
        "results/logs/simulate/{dataset}/shard-{shard}.log",
    benchmark:
        "results/benchmarks/simulate/{dataset}/shard-{shard}.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: settings_of.simulate(CONFIG, wildcards.dataset).json_text(),
        first=lambda wildcards: CONFIG.shard_range(wildcards.dataset, int(wildcards.shard))[0],
        number=lambda wildcards: CONFIG.shard_range(wildcards.dataset, int(wildcards.shard))[1],
        files=digests(),
        code=code("simulate", ENGINE_MODULE),
    message:
        "Simulate {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow simulate --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --shard-first {params.first} --count {params.number}"
        " --output {output:q} >{log:q} 2>&1"
