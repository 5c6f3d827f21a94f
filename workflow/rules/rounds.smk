rule train_round:
    """Train one round of a population, deflated against the earlier rounds of its seeds, and record its activity."""
    input:
        bank="results/{task}/trials/train.nc",
        test="results/{task}/trials/test.nc",
        earlier=earlier_activity,
    output:
        network=f"{ROUND}/network.nc",
        activity=f"{ROUND}/activity.nc",
        history=f"{ROUND}/history.nc",
    log:
        "results/logs/train_round/{task}/{population}/seeds-{seeds}/round-{round}.log",
    benchmark:
        "results/benchmarks/train_round/{task}/{population}/seeds-{seeds}/round-{round}.tsv"
    priority: rounds_to_come
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=training_minutes,
    params:
        parameters=task_parameters,
        recipe=recipe,
        code=code_fingerprint("insd.activity"),
    script:
        "../scripts/train_round.py"
