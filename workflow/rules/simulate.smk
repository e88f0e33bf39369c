# Spectra with known parameters, one job per shard.
SHARD = RESULTS.spectra("{dataset}", "{shard}")


rule simulate_shard:
    input:
        INPUT_FILES,
    output:
        spectra=SHARD,
        truth=layout.truth_of(SHARD),
    log:
        RESULTS.log(SHARD),
    benchmark:
        RESULTS.benchmark(SHARD)
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        settings=settings("simulate", "dataset", xspec=XSPEC),
        first=lambda wildcards: CONFIG.shard_range(wildcards.dataset, int(wildcards.shard))[0],
        number=lambda wildcards: CONFIG.shard_range(wildcards.dataset, int(wildcards.shard))[1],
        files=digests(),
        code=code("simulate", ENGINE_MODULE),
    message:
        "Simulate {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow simulate --settings {params.settings:q}"
        " --shard-first {params.first} --count {params.number}"
        " --output {output.spectra:q} >{log:q} 2>&1"
