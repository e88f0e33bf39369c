# Scans: the same detectors under other conditions, one evaluation for each point. What the default
# run has made is taken from there, its networks too.
SCAN = RESULTS.scan("{scan}")
POINT = RESULTS.point("{scan}", "{point}")
SCAN_SCORE = RESULTS.scores("{network}", "{fold}", scan="{scan}")


use rule fluxes as scan_fluxes with:
    input:
        INPUT_FILES,
        lambda wildcards: settings_of.scan_fluxes(CONFIG, wildcards.scan).shards.files(
            RESULTS.truth
        ),
    output:
        RESULTS.fluxes("{scan}"),
    log:
        RESULTS.log(RESULTS.fluxes("{scan}")),
    benchmark:
        RESULTS.benchmark(RESULTS.fluxes("{scan}"))
    params:
        settings=settings("scan_fluxes", "scan"),
        files=digests(),
        code=code("fluxes"),
    message:
        "Tabulate the true fluxes of the scan {wildcards.scan}"


use rule score_fold as scan_score with:
    input:
        given(RMFS),
        RESULTS.weights("{network}", "{fold}"),
        lambda wildcards: settings_of.scan_score(
            CONFIG, wildcards.scan, wildcards.network, 0
        ).shards.files(RESULTS.spectra),
    output:
        scores=SCAN_SCORE,
    log:
        RESULTS.log(SCAN_SCORE),
    benchmark:
        RESULTS.benchmark(SCAN_SCORE)
    params:
        settings=settings("scan_score", "scan", "network", "fold"),
        files=digests(*RMFS),
        code=code("score"),
    message:
        "Score the spectra of the scan {wildcards.scan} with {wildcards.network}, fold {wildcards.fold}"


use rule evaluate as scan_point with:
    input:
        lambda wildcards: InputFiles.of(
            settings_of.scan_point(CONFIG, wildcards.scan, wildcards.point), RESULTS
        ).paths,
    output:
        [POINT / name for name in layout.AT_POINT],
    log:
        RESULTS.log(POINT),
    benchmark:
        RESULTS.benchmark(POINT)
    params:
        settings=settings("scan_point", "scan", "point"),
        code=code("evaluate"),
        tables=subpath(output[0], parent=True),
        folder=subpath(output[0], parent=True),
    message:
        "Evaluate the detectors at {wildcards.point} of the scan {wildcards.scan}"


rule scan_table:
    input:
        lambda wildcards: [
            RESULTS.point(wildcards.scan, point.name) / table
            for point in CONFIG.scans[wildcards.scan].points
            for table in (layout.JUDGED, layout.VALIDATION)
        ],
    output:
        [SCAN / name for name in layout.COMPARED],
    log:
        RESULTS.log(SCAN / "table.log"),
    benchmark:
        RESULTS.benchmark(SCAN / "table.tsv")
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        settings=settings("scan", "scan"),
        folder=subpath(output[0], parent=True),
        code=code("scan"),
    message:
        "Compare the points of the scan {wildcards.scan}"
    shell:
        "icflow scan --settings {params.settings:q} --output {params.folder:q} >{log:q} 2>&1"


rule scan_figure:
    input:
        SCAN / layout.SCAN_CSV,
        SCAN / layout.SCAN_CURVES,
    output:
        layout.figures_of(SCAN, CONFIG.figures.formats),
    log:
        RESULTS.log(SCAN / "figure.log"),
    benchmark:
        RESULTS.benchmark(SCAN / "figure.tsv")
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(1000),
        runtime=growing(30),
    params:
        settings=settings("scan", "scan"),
        dpi=CONFIG.figures.dpi,
        folder=subpath(input[0], parent=True),
        code=code("scan_figure"),
    message:
        "Draw the scan {wildcards.scan}"
    shell:
        "icflow scan-figure {params.folder:q} --settings {params.settings:q} --dpi {params.dpi}"
        " --output {output:q} >{log:q} 2>&1"
