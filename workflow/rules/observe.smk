# Observed spectra: is there IC in them? One job each, and one that draws what it found.
NETWORK_FILES = ["weights.safetensors", "history.ecsv", "training.pha"]


# Only for detectors that read networks.
rule observation_network:
    input:
        lambda wildcards: ancient(list(OBSERVED[wildcards.observation])),
    output:
        expand(
            "results/observations/{{observation}}/networks/{{network}}/{file}",
            file=NETWORK_FILES,
        ),
    log:
        "results/logs/observations/{observation}-{network}.log",
    benchmark:
        "results/benchmarks/observations/{observation}-{network}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        trainings=1,
    params:
        settings=lambda wildcards: settings_of.observe_network(
            CONFIG, wildcards.observation, wildcards.network
        ).json_text(),
        files=lambda wildcards: canonical_json(OBSERVED[wildcards.observation]),
        code=code("observation.networks", ENGINE_MODULE),
        folder=subpath(output[0], parent=True),
    message:
        "Train {wildcards.network} for {wildcards.observation}"
    shell:
        "icflow observe-network --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule observe:
    input:
        lambda wildcards: ancient(list(OBSERVED[wildcards.observation])),
        networks=lambda wildcards: expand(
            "results/observations/{observation}/networks/{network}/{file}",
            observation=wildcards.observation,
            network=CONFIG.observe.networks(),
            file=NETWORK_FILES,
        ),
    output:
        summary="results/observations/{observation}/summary.json",
        spectrum="results/observations/{observation}/spectrum.ecsv",
        simulations="results/observations/{observation}/simulations.ecsv",
        profile="results/observations/{observation}/profile.ecsv",
    log:
        "results/logs/observations/{observation}.log",
    benchmark:
        "results/benchmarks/observations/{observation}.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(240),
    params:
        settings=lambda wildcards: settings_of.observe(CONFIG, wildcards.observation).json_text(),
        files=lambda wildcards: canonical_json(OBSERVED[wildcards.observation]),
        code=code("observation.analysis", ENGINE_MODULE),
        folder=subpath(output.summary, parent=True),
    message:
        "Look for IC in {wildcards.observation}"
    shell:
        "icflow observe --settings {params.settings:q} --output {params.folder:q} >{log:q} 2>&1"


rule observation_figure:
    input:
        "results/observations/{observation}/spectrum.ecsv",
        "results/observations/{observation}/simulations.ecsv",
        "results/observations/{observation}/profile.ecsv",
        summary="results/observations/{observation}/summary.json",
    output:
        expand(
            "results/observations/{{observation}}/observation.{suffix}",
            suffix=CONFIG.figures.formats,
        ),
    log:
        "results/logs/observations/{observation}-figure.log",
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        dpi=CONFIG.figures.dpi,
        folder=subpath(input.summary, parent=True),
        code=provenance.code_digest(["icflow.observation.page"]),
    message:
        "Draw the page of {wildcards.observation}"
    shell:
        "icflow observation-figure {params.folder:q} --dpi {params.dpi} --output {output:q}"
        " >{log:q} 2>&1"
