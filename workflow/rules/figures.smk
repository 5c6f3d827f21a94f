# One rule per figure: each file of src/insd/figures, and the user's own that the config names.
for name, path in FIGURES.items():
    figure = planned(path)
    stem = files.figure_stem(name, figure)
    job = "{task}" if figure.per == "task" else "all"

    rule:
        name:
            f"figure_{name}"
        input:
            unpack(files.inputs_of(GRID, figure)),
        output:
            svg=report(
                f"{stem}.svg",
                category=task_name if figure.per == "task" else "all tasks",
                labels={"figure": figure.title, "kind": "figure"},
                caption=files.caption_of(name, path, figure),
            ),
            pdf=f"{stem}.pdf",
            png=f"{stem}.png",
        log:
            f"results/logs/figure_{name}/{job}.log",
        benchmark:
            f"results/benchmarks/figure_{name}/{job}.tsv"
        conda:
            "../../envs/insd.yaml"
        threads: 1
        resources:
            mem_mb=per_attempt(figure.memory_mb),
            runtime=per_attempt(figure.minutes),
        params:
            figure=path,
            tasks=files.tasks_of(GRID, figure),
            settings=files.figure_settings(GRID, figure),
            blocks=files.blocks_of(GRID, figure),
            numbers=NUMBERS,
            code=when_asked(code_fingerprint, plugins.module_of("figure", path)),
        script:
            "../scripts/draw.py"

    # What `snakemake --list` says of it.
    workflow.get_rule(f"figure_{name}").docstring = figure.description
