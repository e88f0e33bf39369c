# The autoencoders, one job per network and fold, and what they say about every spectrum.
WEIGHTS = per_fold("results/networks/{network}/fold-{fold}/weights.safetensors")
SCORES = per_fold("results/scores/{network}/fold-{fold}.ecsv")
TRAINING_SPECTRA = training_shards(spectra(CONFIG.detection.training))
TRAINING_LABELS = training_shards(label_fits())
# Spectra to score, by dataset.
SCORED = {name: spectra(name) for name in (*CONFIG.detection.validation, *CONFIG.detection.test)}
SCORED[CONFIG.detection.training] = TRAINING_SPECTRA


rule train:
    input:
        ancient(CONFIG.instrument.rmf),
        spectra=TRAINING_SPECTRA,
        labels=TRAINING_LABELS,
    output:
        weights="results/networks/{network}/fold-{fold}/weights.safetensors",
        history="results/networks/{network}/fold-{fold}/history.ecsv",
    log:
        "results/logs/train/{network}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/train/{network}/fold-{fold}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(720),
        # Of these `--resources trainings=N` allows N at a time: those that share a GPU.
        trainings=1,
    params:
        settings=lambda wildcards: settings_of.train(
            CONFIG, wildcards.network, int(wildcards.fold)
        ).json_text(),
        files=digests(os.path.normpath(CONFIG.instrument.rmf)),
        code=code("train"),
        folder=subpath(output.weights, parent=True),
    message:
        "Train {wildcards.network}, fold {wildcards.fold}"
    shell:
        "icflow train --settings {params.settings:q}"
        " --network {wildcards.network:q} --fold {wildcards.fold} --threads {threads}"
        " --spectra {input.spectra:q} --labels {input.labels:q}"
        " --output {params.folder:q} >{log:q} 2>&1"


rule score:
    input:
        ancient(CONFIG.instrument.rmf),
        weights="results/networks/{network}/fold-{fold}/weights.safetensors",
        spectra=[shard for shards in SCORED.values() for shard in shards],
        labels=TRAINING_LABELS,
    output:
        scores="results/scores/{network}/fold-{fold}.ecsv",
        reconstructions="results/scores/{network}/fold-{fold}-reconstructions.ecsv",
    log:
        "results/logs/score/{network}/fold-{fold}.log",
    benchmark:
        "results/benchmarks/score/{network}/fold-{fold}.tsv"
    conda:
        "../../envs/icflow.yaml"
    container:
        CONFIG.containers.icflow
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        settings=lambda wildcards: settings_of.score(
            CONFIG, wildcards.network, int(wildcards.fold)
        ).json_text(),
        spectra=[f"{name}={shard}" for name, shards in SCORED.items() for shard in shards],
        files=digests(os.path.normpath(CONFIG.instrument.rmf)),
        code=code("score"),
    message:
        "Score all spectra with {wildcards.network}, fold {wildcards.fold}"
    shell:
        "icflow score --settings {params.settings:q}"
        " --network {wildcards.network:q} --fold {wildcards.fold} --weights {input.weights:q}"
        " --spectra {params.spectra:q} --labels {input.labels:q}"
        " --output {output.scores:q} --reconstructions {output.reconstructions:q} >{log:q} 2>&1"
