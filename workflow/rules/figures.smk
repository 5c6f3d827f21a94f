# One rule per figure: each file of src/insd/figures, and the user's own that the config names.
for name, path in FIGURES.items():
    figure = planned(path)
    stem = figure_stem(name, figure)
    job = "{task}" if figure.per == "task" else "all"

    rule:
        name:
            f"figure_{name}"
        input:
            unpack(GRID.of_task(GRID.figure_inputs, figure)),
        output:
            svg=report(
                f"{stem}.svg",
                category=task_name if figure.per == "task" else "all tasks",
                labels={"figure": figure.title, "kind": "figure"},
                caption=caption_of(name, figure),
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
            job=GRID.of_task(GRID.figure_params, figure),
            numbers=NUMBERS,
            code=code_fingerprint(module_of("figure", path)),
        script:
            "../scripts/draw.py"

    # What `snakemake --list` says of it.
    workflow.get_rule(f"figure_{name}").docstring = figure.description
