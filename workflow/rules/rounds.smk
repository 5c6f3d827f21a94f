rule train_round:
    """Train one round of a population, deflated against the earlier rounds of its seeds, and record its activity."""
    input:
        bank="results/{task}/trials/train.nc",
        test="results/{task}/trials/test.nc",
        earlier=GRID.earlier_activity,
    output:
        network=f"{ROUND}/network.nc",
        activity=f"{ROUND}/activity.nc",
        history=f"{ROUND}/history.nc",
    log:
        "results/logs/train_round/{task}/{population}/seeds-{seeds}/round-{round}.log",
    benchmark:
        "results/benchmarks/train_round/{task}/{population}/seeds-{seeds}/round-{round}.tsv"
    priority: GRID.rounds_to_come
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=GRID.training_memory,
        runtime=GRID.training_minutes,
        # Nothing is asked for with `auto`: such a job uses what the machine has.
        gpu=1 if SETTINGS.device == "cuda" else 0,
    params:
        parameters=task_parameters,
        recipe=GRID.recipe,
        code=GRID.training_code,
    script:
        "../scripts/train_round.py"


rule import_recording:
    """Make recorded activity ready to be deflated against, in the place of round 0."""
    input:
        recording=GRID.recording_file,
        bank="results/{task}/trials/train.nc",
    output:
        reference="results/{task}/{population}/seeds-{seeds}/recording.nc",
    log:
        "results/logs/import_recording/{task}/{population}/seeds-{seeds}.log",
    benchmark:
        "results/benchmarks/import_recording/{task}/{population}/seeds-{seeds}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(10),
    params:
        deflation=GRID.recording_deflation,
        code=code_fingerprint("insd.recordings"),
    script:
        "../scripts/import_recording.py"
