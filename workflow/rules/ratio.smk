# Likelihood ratios that networks estimate: trained on spectra of their own, asked about the others.
ESTIMATE = RESULTS.estimates("{dataset}", "{ratio}", "{shard}")
RATIO = RESULTS.ratio("{ratio}")


rule ratio_network:
    input:
        INPUT_FILES,
    output:
        [RATIO / name for name in layout.TRAINED],
    log:
        RESULTS.log(RATIO),
    benchmark:
        RESULTS.benchmark(RATIO)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=settings("ratio", "ratio"),
        files=digests(),
        code=code("ratio"),
        folder=subpath(output[0], parent=True),
    message:
        "Train the estimate of the likelihood ratio {wildcards.ratio}"
    shell:
        "icflow ratio --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule estimate_shard:
    input:
        INPUT_FILES,
        RESULTS.ratio_weights("{ratio}"),
        spectra=SHARD,
    output:
        ESTIMATE,
    log:
        RESULTS.log(ESTIMATE),
    benchmark:
        RESULTS.benchmark(ESTIMATE)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("ratio", "ratio"),
        files=digests(),
        code=code("estimate"),
    message:
        "Estimate {wildcards.ratio} for {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow estimate --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"
