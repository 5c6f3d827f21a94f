# One rule per analysis: each file of src/insd/analysis, and the user's own that the config names.
for analysis_name, analysis in GRID.analyses().items():

    rule:
        name:
            GRID.rule_name(analysis_name)
        input:
            unpack(GRID.of_task(GRID.analysis_inputs, analysis_name)),
        output:
            **{file: f"results/{{task}}/analysis/{file}.nc" for file in analysis.writes},
        log:
            f"results/logs/{GRID.rule_name(analysis_name)}/{{task}}.log",
        benchmark:
            f"results/benchmarks/{GRID.rule_name(analysis_name)}/{{task}}.tsv"
        conda:
            "../../envs/insd.yaml"
        threads: 1
        resources:
            mem_mb=per_attempt(analysis.memory_mb),
            runtime=per_attempt(analysis.minutes),
        params:
            analysis=analysis_name,
            task_code=GRID.of_task(SETTINGS.task_code),
            job=GRID.of_task(GRID.analysis_params, analysis_name),
        script:
            "../scripts/analyse.py"

    # What `snakemake --list` says of it.
    workflow.get_rule(GRID.rule_name(analysis_name)).docstring = (
        analysis.description
    )


# Pairs of blocks of networks, for the analyses that are divided: only where a task has more networks than one block.
for analysis_name, analysis in GRID.divided_analyses().items():

    rule:
        name:
            f"{GRID.rule_name(analysis_name)}_block"
        input:
            unpack(GRID.of_pair(GRID.block_inputs, analysis_name)),
        output:
            f"results/{{task}}/analysis/blocks/{GRID.rule_name(analysis_name)}/{{block}}-{{block_to}}.pt",
        log:
            f"results/logs/{GRID.rule_name(analysis_name)}_block/{{task}}/{{block}}-{{block_to}}.log",
        benchmark:
            f"results/benchmarks/{GRID.rule_name(analysis_name)}_block/{{task}}/{{block}}-{{block_to}}.tsv"
        # What a block with itself keeps of its networks serves its pairs with others.
        priority: lambda wildcards: wildcards.block == wildcards.block_to
        conda:
            "../../envs/insd.yaml"
        threads: 1
        resources:
            mem_mb=per_attempt(analysis.memory_mb),
            runtime=per_attempt(analysis.minutes),
        params:
            analysis=analysis_name,
            task_code=GRID.of_task(SETTINGS.task_code),
            job=GRID.of_pair(GRID.block_params, analysis_name),
        script:
            "../scripts/compare_blocks.py"

    # What `snakemake --list` says of it.
    workflow.get_rule(f"{GRID.rule_name(analysis_name)}_block").docstring = (
        f"Pairs of two blocks of networks, of: {analysis.description}"
    )
