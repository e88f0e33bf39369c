# Response files from archival data, with HEASoft. None by default, and nothing else asks for them:
# they are files of the user's, which `instrument` may name once they are there.
rule responses_sequence:
    output:
        multiext("resources/responses/{response}", ".rmf", ".arf", ".pha"),
    log:
        "results/logs/responses/{response}.log",
    benchmark:
        "results/benchmarks/responses/{response}.tsv"
    wildcard_constraints:
        response=one_of(CONFIG.responses),
    conda:
        "../../envs/heasoft.yaml"
    container:
        CONFIG.containers.heasoft
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=settings("responses", "response"),
        region=lambda wildcards: inputs.region_digest(CONFIG, wildcards.response),
        code=code("responses"),
        folder=subpath(output[0], parent=True),
    message:
        "Make the response {wildcards.response}"
    shell:
        "icflow responses --settings {params.settings:q}"
        " --scratch results/responses/{wildcards.response:q}"
        " --output {params.folder:q} >{log:q} 2>&1"
