# Figures 1 to 8, one job each; the registry says what each one reads and depends on.
from icflow.figures import registry

FIGURES = [
    f"results/{path}" for number in registry.FIGURES for path in registry.outputs(CONFIG, number)
]


def figure_inputs(wildcards):
    """Files that a figure reads."""
    return [f"results/{path}" for path in registry.inputs(CONFIG, int(wildcards.number))]


def figure_settings(wildcards):
    """Settings of a figure, as JSON."""
    return registry.settings(CONFIG, int(wildcards.number)).json_text()


def figure_code(wildcards):
    """SHA-256 of the sources of one figure, without those of the others."""
    return provenance.code_digest([registry.FIGURES[int(wildcards.number)].draw.__module__])


rule figure:
    input:
        figure_inputs,
    output:
        expand("results/figures/figure{{number}}.{suffix}", suffix=CONFIG.figures.formats),
    log:
        "results/logs/figures/figure{number}.log",
    benchmark:
        "results/benchmarks/figures/figure{number}.tsv"
    wildcard_constraints:
        number="|".join(str(number) for number in registry.FIGURES),
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=figure_settings,
        code=figure_code,
    shell:
        "icflow figure {wildcards.number} --settings {params.settings:q}"
        " --inputs {input:q} --output {output:q} >{log:q} 2>&1"
