# One rule for each maker that the config uses, for the populations that it makes.
for make in SETTINGS.makers():
    MADE = "train_round" if make == "train" else f"make_{make.rpartition(':')[2]}"

    rule:
        name:
            MADE
        wildcard_constraints:
            population=any_of(SETTINGS.made_by(make)),
        input:
            bank="results/{task}/trials/train.nc",
            test="results/{task}/trials/test.nc",
            earlier=earlier_files,
            sources=source_files,
        output:
            **{name: f"{ROUND}/{name}.nc" for name in written_by(make)},
        log:
            f"results/logs/{MADE}/{{task}}/{{population}}/seeds-{{seeds}}/round-{{round}}.log",
        benchmark:
            f"results/benchmarks/{MADE}/{{task}}/{{population}}/seeds-{{seeds}}/round-{{round}}.tsv"
        priority: rounds_to_come
        conda:
            "../../envs/insd.yaml"
        threads: 1
        resources:
            mem_mb=round_memory,
            runtime=round_minutes,
            # None with `auto`: such a job uses what the machine has.
            gpu=round_gpus,
        params:
            parameters=task_parameters,
            made=made,
            code=code_of_round,
        script:
            "../scripts/make_round.py"
