# Resources that can be fetched, each where it belongs. A file in place is left alone.
rule fetch:
    output:
        update("{resource}"),
    log:
        RESULTS.log(RESULTS.fetched("{resource}")),
    wildcard_constraints:
        resource=one_of(resource.path("").as_posix() for resource in inputs.RESOURCES.values()),
    conda:
        "../../envs/icflow.yaml"
    container:
        None
    params:
        name=lambda wildcards: inputs.fetchable(wildcards.resource).name,
    message:
        "Fetch {wildcards.resource}"
    shell:
        "icflow fetch {params.name:q} --root . >{log:q} 2>&1"


localrules:
    fetch,
