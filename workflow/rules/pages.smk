rule table_page:
    """A table as a page that a browser shows."""
    input:
        table="results/tables/{table}.csv",
    output:
        page=report(
            "results/tables/{table}.html",
            category="tables",
            labels={"table": "{table}", "kind": "page"},
            caption="../report/table_page.rst",
        ),
    log:
        "results/logs/table_page/{table}.log",
    benchmark:
        "results/benchmarks/table_page/{table}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(5),
    params:
        # The columns of the other tables are not explained: an analysis that is added makes their pages again for nothing.
        analyses=lambda wildcards: (
            GRID.column_analyses() if wildcards.table == "networks" else []
        ),
        code=when_asked(modules_fingerprint, ["insd.report", "insd.tables.networks"]),
    script:
        "../scripts/table_page.py"


rule explorer:
    """A page on which any two networks of a task are seen side by side: trajectories, fixed points, spectra."""
    input:
        networks=lambda wildcards: GRID.files("network.nc", wildcards.task),
        activities=lambda wildcards: GRID.files("activity.nc", wildcards.task),
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
        mem_mb=per_attempt(2000),
        runtime=per_attempt(15),
    params:
        chain=SETTINGS.shown_chain(),
        parameters=task_parameters,
        rounds=lambda wildcards: GRID.made_with(
            wildcards.task, GRID.blocks(wildcards.task)
        ),
        analyses=GRID.column_analyses(),
        template=file_fingerprint("templates/explorer.html"),
        code=when_asked(code_fingerprint, "insd.explorer"),
    script:
        "../scripts/explorer.py"


rule archive:
    """All results but the activity that no figure reads, in one file with checksums: figures are made again from it."""
    input:
        GRID.trial_files(),
        GRID.all_rounds(["network", "history"]),
        files.files_of_figures(GRID),
        GRID.analysis_files(),
        all_tables(),
        expand("results/explorer/{task}.html", task=SETTINGS.tasks),
    output:
        archive="results/archive.tar",
    log:
        "results/logs/archive/all.log",
    benchmark:
        "results/benchmarks/archive/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(30),
    params:
        code=when_asked(code_fingerprint, "insd.archive"),
    script:
        "../scripts/archive.py"
