# Scans: the same detectors under other conditions, one evaluation for each point. What the default
# run has made is taken from there, its networks too.


wildcard_constraints:
    scan="|".join(re.escape(name) for name in CONFIG.scans) or "(?!)",
    point="|".join(re.escape(name) for scan in CONFIG.scans for name in points(scan)) or "(?!)",


rule scan_fluxes:
    input:
        INPUT_FILES,
        spectra=lambda wildcards: [s for name in tested(wildcards.scan) for s in spectra(name)],
    output:
        "results/scans/{scan}/fluxes.ecsv",
    log:
        "results/logs/scans/{scan}/fluxes.log",
    benchmark:
        "results/benchmarks/scans/{scan}/fluxes.tsv"
    conda:
        ENVIRONMENT
    container:
        IMAGE
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: settings_of.fluxes(CONFIG, tested(wildcards.scan)).json_text(),
        files=digests(),
        code=code("fluxes"),
    message:
        "Tabulate the true fluxes of the scan {wildcards.scan}"
    shell:
        "icflow fluxes --settings {params.settings:q} --output {output:q}"
        " {input.spectra:q} >{log:q} 2>&1"


rule scan_score:
    input:
        ancient(CONFIG.instrument.rmf),
        weights="results/networks/{network}/fold-{fold}/weights.safetensors",
        spectra=lambda wildcards: [s for name in scanned(wildcards.scan) for s in spectra(name)],
    output:
        "results/scans/{scan}/scores/{network}/fold-{fold}.ecsv",
    log:
        "results/logs/scans/{scan}/scores/{network}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/scans/{scan}/scores/{network}/fold-{fold}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: settings_of.scan_score(
            CONFIG, wildcards.scan, wildcards.network, int(wildcards.fold)
        ).json_text(),
        spectra=lambda wildcards: [
            f"{name}={shard}" for name in scanned(wildcards.scan) for shard in spectra(name)
        ],
        files=digests(os.path.normpath(CONFIG.instrument.rmf)),
        code=code("score"),
    message:
        "Score the spectra of the scan {wildcards.scan} with {wildcards.network}, fold {wildcards.fold}"
    shell:
        "icflow score --settings {params.settings:q}"
        " --network {wildcards.network:q} --fold {wildcards.fold} --weights {input.weights:q}"
        " --spectra {params.spectra:q} --output {output:q} >{log:q} 2>&1"


rule scan_point:
    input:
        scores=point_scores,
        fits=point_fits,
        integrals=point_integrals,
        spectra=point_spectra,
        fluxes="results/scans/{scan}/fluxes.ecsv",
    output:
        scores="results/scans/{scan}/points/{point}/scores.ecsv",
        validation="results/scans/{scan}/points/{point}/validation.ecsv",
        metrics="results/scans/{scan}/points/{point}/metrics.json",
    log:
        "results/logs/scans/{scan}/points/{point}.log",
    benchmark:
        "results/benchmarks/scans/{scan}/points/{point}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: settings_of.evaluate(
            CONFIG, CONFIG.at_point(wildcards.scan, wildcards.point)
        ).json_text(),
        folder=subpath(output.metrics, parent=True),
        code=code("evaluate"),
    message:
        "Evaluate the detectors at {wildcards.point} of the scan {wildcards.scan}"
    shell:
        "icflow evaluate --settings {params.settings:q} --scores {input.scores:q}"
        " --fits {input.fits:q} --integrals {input.integrals:q}"
        " --spectra {input.spectra:q} --fluxes {input.fluxes:q}"
        " --output-scores {output.scores:q} --output-validation {output.validation:q}"
        " --output-metrics {output.metrics:q} --tables {params.folder:q} >{log:q} 2>&1"


rule scan:
    input:
        lambda wildcards: expand(
            "results/scans/{scan}/points/{point}/{file}.ecsv",
            scan=wildcards.scan,
            point=points(wildcards.scan),
            file=["scores", "validation"],
        ),
    output:
        table="results/scans/{scan}/table.csv",
        markdown="results/scans/{scan}/table.md",
        curves="results/scans/{scan}/curves.ecsv",
    log:
        "results/logs/scans/{scan}/table.log",
    benchmark:
        "results/benchmarks/scans/{scan}/table.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: settings_of.scan(CONFIG, wildcards.scan).json_text(),
        points=lambda wildcards: [
            f"{point}=results/scans/{wildcards.scan}/points/{point}"
            for point in points(wildcards.scan)
        ],
        folder=subpath(output.table, parent=True),
        code=code("scan"),
    message:
        "Compare the points of the scan {wildcards.scan}"
    shell:
        "icflow scan --settings {params.settings:q} --points {params.points:q}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule scan_figure:
    input:
        table="results/scans/{scan}/table.csv",
        curves="results/scans/{scan}/curves.ecsv",
    output:
        expand("results/scans/{{scan}}/figure.{suffix}", suffix=CONFIG.figures.formats),
    log:
        "results/logs/scans/{scan}/figure.log",
    benchmark:
        "results/benchmarks/scans/{scan}/figure.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=lambda wildcards: settings_of.scan(CONFIG, wildcards.scan).json_text(),
        dpi=CONFIG.figures.dpi,
        folder=subpath(input.table, parent=True),
        code=provenance.code_digest(["icflow.publish.figures.scans"]),
    message:
        "Draw the scan {wildcards.scan}"
    shell:
        "icflow scan-figure {params.folder:q} --settings {params.settings:q} --dpi {params.dpi}"
        " --output {output:q} >{log:q} 2>&1"
