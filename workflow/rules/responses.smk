# Response files from archival data, with HEASoft. None by default, and nothing else asks for them:
# they are files of the user's, which `instrument` may name once they are there.
RESPONSES = [
    f"resources/responses/{name}.{suffix}"
    for name in CONFIG.responses
    for suffix in ("rmf", "arf", "pha")
]


rule make_responses:
    output:
        multiext("resources/responses/{response}", ".rmf", ".arf", ".pha"),
    log:
        "results/logs/responses/{response}.log",
    benchmark:
        "results/benchmarks/responses/{response}.tsv"
    wildcard_constraints:
        response="|".join(re.escape(name) for name in CONFIG.responses) or "(?!)",
    conda:
        "../../envs/heasoft.yaml"
    container:
        CONFIG.containers.heasoft
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(240),
    params:
        settings=lambda wildcards: settings_of.responses(CONFIG, wildcards.response).json_text(),
        region=lambda wildcards: inputs.region_digest(CONFIG, wildcards.response),
        code=code("responses"),
        folder=subpath(output[0], parent=True),
    message:
        "Make the response {wildcards.response}"
    shell:
        "icflow responses --settings {params.settings:q}"
        " --scratch results/responses/{wildcards.response:q}"
        " --output {params.folder:q} >{log:q} 2>&1"
