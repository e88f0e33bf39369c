# Observed spectra: is there IC in them? One job each, and one that draws what it found.
OBSERVATION = RESULTS.observation("{observation}")
OBSERVED_NETWORK = RESULTS.observed_network("{observation}", "{network}")
OBSERVED_RATIO = RESULTS.observed_ratio("{observation}", "{ratio}")


# Only for detectors that read networks.
rule observe_network:
    input:
        lambda wildcards: given(OBSERVED[wildcards.observation]),
    output:
        [OBSERVED_NETWORK / name for name in layout.TRAINED_OBSERVED],
    log:
        RESULTS.log(OBSERVED_NETWORK),
    benchmark:
        RESULTS.benchmark(OBSERVED_NETWORK)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        trainings=1,
    params:
        settings=settings("observe_network", "observation", "network"),
        files=lambda wildcards: canonical_json(OBSERVED[wildcards.observation]),
        code=code("observe_network"),
        folder=subpath(output[0], parent=True),
    message:
        "Train {wildcards.network} for {wildcards.observation}"
    shell:
        "icflow observe-network --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} >{log:q} 2>&1"


# Likewise, of detectors that read likelihood ratios.
rule observe_ratio:
    input:
        lambda wildcards: given(OBSERVED[wildcards.observation]),
    output:
        [OBSERVED_RATIO / name for name in layout.TRAINED],
    log:
        RESULTS.log(OBSERVED_RATIO),
    benchmark:
        RESULTS.benchmark(OBSERVED_RATIO)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=settings("observe_ratio", "observation", "ratio"),
        files=lambda wildcards: canonical_json(OBSERVED[wildcards.observation]),
        code=code("observe_ratio"),
        folder=subpath(output[0], parent=True),
    message:
        "Train the estimate of the likelihood ratio {wildcards.ratio} for {wildcards.observation}"
    shell:
        "icflow observe-ratio --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule observe_source:
    input:
        lambda wildcards: given(OBSERVED[wildcards.observation]),
        expand(
            OBSERVED_NETWORK / "{file}",
            network=CONFIG.observe.networks(),
            file=layout.TRAINED_OBSERVED,
            allow_missing=True,
        ),
        expand(
            OBSERVED_RATIO / "{file}",
            ratio=CONFIG.observe.ratios(),
            file=layout.TRAINED,
            allow_missing=True,
        ),
    output:
        [OBSERVATION / name for name in layout.OBSERVED],
    log:
        RESULTS.log(OBSERVATION),
    benchmark:
        RESULTS.benchmark(OBSERVATION)
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=settings("observe", "observation"),
        files=lambda wildcards: canonical_json(OBSERVED[wildcards.observation]),
        code=code("observe"),
        folder=subpath(output[0], parent=True),
    message:
        "Look for IC in {wildcards.observation}"
    shell:
        "icflow observe --settings {params.settings:q} --output {params.folder:q} >{log:q} 2>&1"


rule observe_figure:
    input:
        [OBSERVATION / name for name in layout.OBSERVED],
    output:
        layout.images_of(OBSERVATION, CONFIG.figures.formats),
    log:
        RESULTS.log(OBSERVATION / "observation.log"),
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        dpi=CONFIG.figures.dpi,
        folder=subpath(input[0], parent=True),
        code=code("observe_figure"),
    message:
        "Draw the page of {wildcards.observation}"
    shell:
        "icflow observe-figure {params.folder:q} --dpi {params.dpi} --output {output:q}"
        " >{log:q} 2>&1"
