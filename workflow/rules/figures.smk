# All figures, one job each; the registry says what each one reads and depends on.
FIGURES = [
    f"results/{path}" for name in registry.FIGURES for path in registry.outputs(CONFIG, name)
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
    group:
        "figures"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: settings_of.simulate(CONFIG, wildcards.dataset).json_text(),
        index=CONFIG.figures.example,
        files=digests(),
        code=code("components"),
    message:
        "Tabulate the components of a spectrum of {wildcards.dataset}"
    shell:
        "icflow components --settings {params.settings:q} --dataset {wildcards.dataset:q}"
        " --index {params.index} --output {output:q} {input.spectra:q} >{log:q} 2>&1"


for figure in registry.FIGURES:

    rule:
        name:
            f"figure_{figure}"
        input:
            [f"results/{path}" for path in registry.inputs(CONFIG, figure)],
        output:
            report(
                [f"results/{path}" for path in registry.outputs(CONFIG, figure)],
                caption=f"../report/{registry.file_name(figure)}.rst",
                category="Figures",
            ),
        log:
            f"results/logs/figures/{registry.file_name(figure)}.log",
        benchmark:
            f"results/benchmarks/figures/{registry.file_name(figure)}.tsv"
        group:
            "figures"
        conda:
            "../../envs/icflow.yaml"
        container:
            CONFIG.containers.icflow
        threads: 1
        resources:
            mem_mb=growing(1000),
            runtime=growing(30),
        params:
            figure=figure,
            settings=registry.settings(CONFIG, figure).json_text(),
            code=provenance.code_digest([registry.FIGURES[figure].draw.__module__]),
        message:
            f"Draw figure {figure}"
        shell:
            "icflow figure {params.figure} --settings {params.settings:q}"
            " --inputs {input:q} --output {output:q} >{log:q} 2>&1"
