rule explorer:
    """A page on which any two networks of a task are seen side by side: trajectories, fixed points, spectra."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials="results/{task}/trials/test.nc",
        points="results/{task}/analysis/fixed_points.nc",
        table=TABLE,
    output:
        page="results/explorer/{task}.html",
    log:
        "results/logs/explorer/{task}.log",
    benchmark:
        "results/benchmarks/explorer/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        chain=SETTINGS.shown_chain(),
        parameters=task_parameters,
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        template=template_fingerprint("explorer.html"),
        code=code_fingerprint("insd.explorer"),
    script:
        "../scripts/explorer.py"
