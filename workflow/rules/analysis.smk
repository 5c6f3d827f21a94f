rule predictivity:
    """Linear predictivity between all networks of a task, in full and null space, with its shuffled baseline."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
    output:
        predictivity="results/{task}/analysis/predictivity.nc",
    log:
        "results/logs/predictivity/{task}.log",
    benchmark:
        "results/benchmarks/predictivity/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=30,
    params:
        rounds=round_blocks(),
        code=code_fingerprint("insd.analysis.similarity"),
    script:
        "../scripts/predictivity.py"


rule performance:
    """Loss and score of all networks of a task in the regime `test` and every harder one."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials=lambda wildcards: regime_files(wildcards.task),
    output:
        performance="results/{task}/analysis/performance.nc",
    log:
        "results/logs/performance/{task}.log",
    benchmark:
        "results/benchmarks/performance/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=30,
    params:
        parameters=task_parameters,
        regimes=lambda wildcards: evaluation_regimes(wildcards.task),
        rounds=round_blocks(),
        code=code_fingerprint("insd.analysis.performance"),
    script:
        "../scripts/performance.py"


rule network_table:
    """One row per network of all tasks: how well it does, and how similar it is to the earlier ones of its chain."""
    input:
        networks=[
            path for task in SETTINGS.tasks for path in round_files("network.nc", task)
        ],
        activities=[
            path
            for task in SETTINGS.tasks
            for path in round_files("activity.nc", task)
        ],
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
    output:
        table=TABLE,
    log:
        "results/logs/network_table/all.log",
    benchmark:
        "results/benchmarks/network_table/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=15,
    params:
        tasks=list(SETTINGS.tasks),
        references={name: SETTINGS.reference(name) for name in SETTINGS.populations},
        rounds=round_blocks(),
        code=code_fingerprint("insd.analysis.table"),
    script:
        "../scripts/network_table.py"


rule summary:
    """What the grid shows, in one table: solved networks, predictivity and its baselines."""
    input:
        table=TABLE,
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
    output:
        page=SUMMARY,
    log:
        "results/logs/summary/all.log",
    benchmark:
        "results/benchmarks/summary/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=5,
    params:
        tasks=list(SETTINGS.tasks),
        config=config,
        code=code_fingerprint("insd.analysis.summary"),
    script:
        "../scripts/summary.py"
