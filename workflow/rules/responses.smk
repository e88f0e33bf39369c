# Response files from archival data, with HEASoft. None by default, and nothing else asks for them:
# they are files of the user's, which `instrument` may name once they are there.
RESPONSES = RESULTS.responses("{response}")


rule responses_sequence:
    output:
        multiext("resources/responses/{response}", ".rmf", ".arf", ".pha"),
    log:
        RESULTS.log(RESPONSES),
    benchmark:
        RESULTS.benchmark(RESPONSES)
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
        scratch=lambda wildcards: RESULTS.responses(wildcards.response),
    message:
        "Make the response {wildcards.response}"
    shell:
        "icflow responses --settings {params.settings:q}"
        " --scratch {params.scratch:q}"
        " --output {params.folder:q} >{log:q} 2>&1"
