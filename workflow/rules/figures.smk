# All figures, one job each; the registry says what each one reads and depends on.
COMPONENTS = RESULTS.components("{dataset}")


# Expected counts of each component of one spectrum, for the figures that show them.
rule components_dataset:
    input:
        INPUT_FILES,
        spectra=lambda wildcards: RESULTS.spectra(
            wildcards.dataset, shown(wildcards) // CONFIG.shard_size
        ),
    output:
        COMPONENTS,
    log:
        RESULTS.log(COMPONENTS),
    benchmark:
        RESULTS.benchmark(COMPONENTS)
    group:
        "figures"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("simulate", "dataset"),
        index=shown,
        files=digests(),
        code=code("components"),
    message:
        "Tabulate the components of a spectrum of {wildcards.dataset}"
    shell:
        "icflow components --settings {params.settings:q} --index {params.index}"
        " --output {output:q} {input.spectra:q} >{log:q} 2>&1"


for figure in registry.FIGURES:

    rule:
        name:
            f"figures_{figure}"
        input:
            registry.inputs(CONFIG, figure, RESULTS),
        output:
            report(
                registry.outputs(CONFIG, figure, RESULTS),
                category="Figures",
                labels={"figure": registry.title(figure)},
            ),
        log:
            RESULTS.log(RESULTS.figure(registry.file_name(figure), "log")),
        benchmark:
            RESULTS.benchmark(RESULTS.figure(registry.file_name(figure), "tsv"))
        group:
            "figures"
        conda:
            "../../envs/icflow.yaml"
        resources:
            mem_mb=growing(1000),
            runtime=growing(30),
        params:
            settings=literal(registry.settings(CONFIG, figure).json_text()),
            # Not of the stage, which imports the registry and with it all other figures.
            code=code(registry.FIGURES[figure].draw.__module__),
        message:
            f"Draw figure {figure}"
        shell:
            "icflow figures --settings {params.settings:q} --output {output:q} >{log:q} 2>&1"
