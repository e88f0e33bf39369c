# Figures 1 to 8, one job each; the registry says what each one reads and depends on.
FIGURES = [
    f"results/{path}" for number in registry.FIGURES for path in registry.outputs(CONFIG, number)
]


# Expected counts of each component of one test spectrum, which Figure 1 shows.
rule components:
    input:
        INPUT_FILES,
        spectra=lambda wildcards: spectra(wildcards.dataset)[
            CONFIG.figures.example // CONFIG.shard_size
        ],
    output:
        "results/figures/data/components-{dataset}.ecsv",
    log:
        "results/logs/figures/components-{dataset}.log",
    benchmark:
        "results/benchmarks/figures/components-{dataset}.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: CONFIG.simulate(wildcards.dataset).json_text(),
        index=CONFIG.figures.example,
        files=digests(),
        code=code("components"),
    shell:
        "icflow components --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --index {params.index} --output {output:q} {input.spectra:q} >{log:q} 2>&1"


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
