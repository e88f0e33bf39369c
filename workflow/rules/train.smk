# The autoencoders, one job per network and fold, and what they say about every spectrum.
SCORE = RESULTS.scores("{network}", "{fold}")
TRAINED = RESULTS.trained("{network}", "{fold}")


rule train_fold:
    input:
        given(RMFS),
        TRAINING.files(RESULTS.spectra),
        TRAINING.files(RESULTS.labels),
    output:
        [TRAINED / name for name in layout.TRAINED],
    log:
        RESULTS.log(TRAINED),
    benchmark:
        RESULTS.benchmark(TRAINED)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        # Of these `--resources trainings=N` allows N at a time: those that share a GPU.
        trainings=1,
    params:
        settings=settings("train_fold", "network", "fold"),
        files=digests(*RMFS),
        code=code("train"),
        folder=subpath(output[0], parent=True),
    message:
        "Train {wildcards.network}, fold {wildcards.fold}"
    shell:
        "icflow train --settings {params.settings:q} --threads {threads}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule score_fold:
    input:
        given(RMFS),
        RESULTS.weights("{network}", "{fold}"),
        settings_of.scored(CONFIG).files(RESULTS.spectra),
        TRAINING.files(RESULTS.labels),
    output:
        scores=SCORE,
        reconstructions=RESULTS.reconstructions("{network}", "{fold}"),
    log:
        RESULTS.log(SCORE),
    benchmark:
        RESULTS.benchmark(SCORE)
    conda:
        "../../envs/icflow.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=settings("score", "network", "fold"),
        files=digests(*RMFS),
        code=code("score"),
    message:
        "Score all spectra with {wildcards.network}, fold {wildcards.fold}"
    shell:
        "icflow score --settings {params.settings:q} --output {output.scores:q} >{log:q} 2>&1"
