# C-stat fits, one job per shard: the labels of the training spectra, and the baseline.
LABEL = RESULTS.labels("{dataset}", "{shard}")
FIT = RESULTS.fits("{dataset}", "{fit}", "{shard}")


rule label_shard:
    input:
        INPUT_FILES,
        spectra=SHARD,
    output:
        LABEL,
    log:
        RESULTS.log(LABEL),
    benchmark:
        RESULTS.benchmark(LABEL)
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        settings=settings("label", xspec=XSPEC),
        files=digests(),
        code=code_of_fit("label"),
    message:
        "Fit the labels of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow label --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"


rule baseline_shard:
    input:
        INPUT_FILES,
        spectra=SHARD,
    output:
        FIT,
    log:
        RESULTS.log(FIT),
    benchmark:
        RESULTS.benchmark(FIT)
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=settings("baseline", "fit", xspec=XSPEC),
        files=digests(),
        code=code_of_fit("baseline", "fit"),
    message:
        "Fit {wildcards.fit} to {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow baseline --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"
