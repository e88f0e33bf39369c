# Likelihoods averaged over priors, one job per shard. Always by the embedded engine.
rule integrate:
    input:
        INPUT_FILES,
        spectra="results/spectra/{dataset}/shard-{shard}.pha",
    output:
        "results/integrals/{dataset}/{integral}/shard-{shard}.ecsv",
    log:
        "results/logs/integrate/{dataset}/{integral}/shard-{shard}.log",
    benchmark:
        "results/benchmarks/integrate/{dataset}/{integral}/shard-{shard}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(3000),
        runtime=growing(120),
    params:
        settings=lambda wildcards: settings_of.integrate(CONFIG, wildcards.integral).json_text(),
        files=digests(),
        code=code("integrate"),
    message:
        "Integrate {wildcards.integral} for {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "icflow integrate --settings {params.settings:q} --integral {wildcards.integral:q}"
        " --output {output:q} {input.spectra:q} >{log:q} 2>&1"
