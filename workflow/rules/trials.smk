rule sample_trials:
    """Sample the trials of a regime of a task."""
    output:
        trials="results/{task}/trials/{regime}.nc",
    log:
        "results/logs/sample_trials/{task}/{regime}.log",
    benchmark:
        "results/benchmarks/sample_trials/{task}/{regime}.tsv"
    # Before any round: long chains cannot start without them.
    priority: 1000
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(10),
    params:
        parameters=task_parameters,
        n_trials=GRID.n_trials,
        code=when_asked(code_fingerprint, "insd.tasks"),
    script:
        "../scripts/sample_trials.py"
