# Likelihoods averaged over priors, one job per shard. Always by the embedded engine.
INTEGRAL = RESULTS.integrals("{dataset}", "{integral}", "{shard}")


rule integrate_shard:
    input:
        INPUT_FILES,
        spectra=SHARD,
    output:
        INTEGRAL,
    log:
        RESULTS.log(INTEGRAL),
    benchmark:
        RESULTS.benchmark(INTEGRAL)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        settings=settings("integrate", "integral"),
        files=digests(),
        code=code("integrate"),
    message:
        "Integrate {wildcards.integral} for {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow integrate --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"
