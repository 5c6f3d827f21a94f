# One rule for each maker that the config uses, for the populations that it makes.
for maker_name, maker in GRID.makers().items():

    rule:
        name:
            GRID.round_rule(maker_name)
        input:
            unpack(GRID.round_inputs),
            bank="results/{task}/trials/train.nc",
            test="results/{task}/trials/test.nc",
        output:
            **{name: f"{ROUND}/{name}.nc" for name in maker.writes},
        log:
            f"results/logs/{GRID.round_rule(maker_name)}/{{task}}/{{population}}/seeds-{{seeds}}/round-{{round}}.log",
        benchmark:
            f"results/benchmarks/{GRID.round_rule(maker_name)}/{{task}}/{{population}}/seeds-{{seeds}}/round-{{round}}.tsv"
        wildcard_constraints:
            population=GRID.made_by(maker_name),
        priority: GRID.rounds_to_come
        conda:
            "../../envs/insd.yaml"
        threads: 1
        resources:
            mem_mb=GRID.round_memory,
            runtime=GRID.round_minutes,
            # Nothing is asked for with `auto`: such a job uses what the machine has.
            gpu=int(SETTINGS.device == "cuda" and maker.uses_device),
        params:
            job=GRID.round_params,
        script:
            "../scripts/make_round.py"

    # What `snakemake --list` says of it.
    workflow.get_rule(GRID.round_rule(maker_name)).docstring = maker.description
