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
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: CONFIG.simulate(wildcards.dataset).json_text(),
        index=CONFIG.figures.example,
        files=digests(),
        code=code("components"),
    message:
        "Tabulate the components of a spectrum of {wildcards.dataset}"
    shell:
        "icflow components --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --index {params.index} --output {output:q} {input.spectra:q} >{log:q} 2>&1"


for number in registry.FIGURES:

    rule:
        name:
            f"figure{number}"
        input:
            [f"results/{path}" for path in registry.inputs(CONFIG, number)],
        output:
            report(
                [f"results/{path}" for path in registry.outputs(CONFIG, number)],
                caption=f"../report/figure{number}.rst",
                category="Figures",
            ),
        log:
            f"results/logs/figures/figure{number}.log",
        benchmark:
            f"results/benchmarks/figures/figure{number}.tsv"
        conda:
            "../../envs/icflow.yaml"
        container:
            CONFIG.containers.icflow
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(30),
        params:
            number=number,
            settings=registry.settings(CONFIG, number).json_text(),
            code=provenance.code_digest([registry.FIGURES[number].draw.__module__]),
        message:
            f"Draw figure {number}"
        shell:
            "icflow figure {params.number} --settings {params.settings:q}"
            " --inputs {input:q} --output {output:q} >{log:q} 2>&1"
