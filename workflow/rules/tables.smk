rule network_table:
    """One row per network of all tasks: how well it does, and how similar it is to the earlier ones of its chain."""
    input:
        **GRID.table_inputs(),
        networks=of_networks("network.nc"),
        activities=of_networks("activity.nc"),
        histories=GRID.all_rounds(["history"]),
    output:
        table=report(
            TABLE,
            category="tables",
            labels={"table": "networks", "kind": "csv"},
            caption="../report/table_networks.rst",
        ),
    log:
        "results/logs/network_table/all.log",
    benchmark:
        "results/benchmarks/network_table/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(2000),
        runtime=per_attempt(15),
    params:
        rounds={
            task: GRID.made_with(task, GRID.blocks(task)) for task in SETTINGS.tasks
        },
        histories={task: GRID.blocks(task, writes="history") for task in SETTINGS.tasks},
        references={name: SETTINGS.reference(name) for name in SETTINGS.populations},
        standards={task: GRID.standards(task) for task in SETTINGS.tasks},
        scores={task: GRID.scores(task) for task in SETTINGS.tasks},
        analyses=GRID.table_analyses(),
        deflated_r2=SETTINGS.analysis.deflated_r2,
        code=when_asked(GRID.table_code),
    script:
        "../scripts/network_table.py"


rule levels:
    """What activity, dynamics and topology each say of every network against its reference, and where they disagree."""
    input:
        table=TABLE,
        predictivity=by_task("predictivity"),
        dsa=by_task("dsa"),
        points=by_task("fixed_points"),
    output:
        levels=report(
            LEVELS,
            category="tables",
            labels={"table": "levels", "kind": "csv"},
            caption="../report/table_levels.rst",
        ),
    log:
        "results/logs/levels/all.log",
    benchmark:
        "results/benchmarks/levels/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        chain=SETTINGS.shown_chain(),
        tasks=list(SETTINGS.tasks),
        code=when_asked(code_fingerprint, "insd.tables.levels"),
    script:
        "../scripts/levels.py"


rule ladder:
    """What the alternatives of each population cost in distribution, and what they win where it is hard."""
    input:
        table=TABLE,
    output:
        ladder=report(
            LADDER,
            category="tables",
            labels={"table": "ladder", "kind": "csv"},
            caption="../report/table_ladder.rst",
        ),
        page=LADDER_PAGE,
    log:
        "results/logs/ladder/all.log",
    benchmark:
        "results/benchmarks/ladder/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(5),
    params:
        deflated_r2=SETTINGS.analysis.deflated_r2,
        code=when_asked(code_fingerprint, "insd.tables.ladder"),
    script:
        "../scripts/ladder.py"


rule capacity:
    """How many alternatives each chain has before one is not solved, or is like an earlier one; r² of all rounds."""
    input:
        table=TABLE,
        predictivity=by_task("predictivity"),
    output:
        capacity=report(
            CAPACITY,
            category="tables",
            labels={"table": "capacity", "kind": "csv"},
            caption="../report/table_capacity.rst",
        ),
        pairs=report(
            CAPACITY_PAIRS,
            category="tables",
            labels={"table": "capacity, r² of pairs", "kind": "csv"},
            caption="../report/table_capacity.rst",
        ),
        page=CAPACITY_PAGE,
    log:
        "results/logs/capacity/all.log",
    benchmark:
        "results/benchmarks/capacity/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        tasks=list(SETTINGS.tasks),
        deflated_r2=SETTINGS.analysis.deflated_r2,
        code=when_asked(code_fingerprint, "insd.tables.capacity"),
    script:
        "../scripts/capacity.py"


rule generators:
    """How far each population gets from its references, at which loss and cost, and how far the loss rose on the way."""
    input:
        table=TABLE,
        predictivity=by_task("predictivity"),
        similarity=by_task("similarity"),
        dsa=by_task("dsa"),
    output:
        generators=report(
            GENERATORS,
            category="tables",
            labels={"table": "generators", "kind": "csv"},
            caption="../report/table_generators.rst",
        ),
        summary=report(
            GENERATORS_SUMMARY,
            category="tables",
            labels={"table": "generators, means at matched loss", "kind": "csv"},
            caption="../report/table_generators.rst",
        ),
        page=GENERATORS_PAGE,
    log:
        "results/logs/generators/all.log",
    benchmark:
        "results/benchmarks/generators/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        tasks=list(SETTINGS.tasks),
        # Benchmarks are read where they are: as inputs, those that are missing would have networks made again.
        jobs={task: GRID.network_benchmarks(task) for task in SETTINGS.tasks},
        chain=SETTINGS.shown_chain(),
        settings=SETTINGS.analysis.comparisons.model_dump(),
        code=when_asked(code_fingerprint, "insd.tables.generators"),
    script:
        "../scripts/generators.py"


rule degeneracy_table:
    """How much the networks of each recipe differ, at each level of the factors that control it, and by deflation."""
    input:
        degeneracy=by_task("degeneracy", GRID.analysis_tasks("degeneracy")),
    output:
        groups=report(
            DEGENERACY,
            category="tables",
            labels={"table": "degeneracy", "kind": "csv"},
            caption="../report/table_degeneracy.rst",
        ),
        factors=report(
            DEGENERACY_FACTORS,
            category="tables",
            labels={"table": "degeneracy, comparisons", "kind": "csv"},
            caption="../report/table_degeneracy.rst",
        ),
        ratios=report(
            DEGENERACY_RATIOS,
            category="tables",
            labels={"table": "degeneracy, ratios", "kind": "csv"},
            caption="../report/table_degeneracy.rst",
        ),
        page=DEGENERACY_PAGE,
    log:
        "results/logs/degeneracy_table/all.log",
    benchmark:
        "results/benchmarks/degeneracy_table/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(5),
    params:
        analysed=GRID.analysis_tasks("degeneracy"),
        tasks=when_asked(GRID.tasks_by_class),
        references={name: SETTINGS.reference(name) for name in SETTINGS.populations},
        confidence=SETTINGS.analysis.comparisons.confidence,
        code=when_asked(code_fingerprint, "insd.tables.degeneracy"),
    script:
        "../scripts/degeneracy_table.py"


rule readings:
    """Of which task is a network? What readers say from its recurrent weights alone."""
    input:
        table=TABLE,
        networks=[
            path
            for task in GRID.analysis_tasks("readers")
            for path in GRID.files(
                "network.nc", task, GRID.analysis_blocks("readers", task)
            )
        ],
    output:
        readings=report(
            READINGS,
            category="tables",
            labels={"table": "readings", "kind": "csv"},
            caption="../report/table_readings.rst",
        ),
    log:
        "results/logs/readings/all.log",
    benchmark:
        "results/benchmarks/readings/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(3000),
        runtime=per_attempt(240),
    params:
        blocks={
            task: GRID.analysis_blocks("readers", task)
            for task in GRID.analysis_tasks("readers")
        },
        references={name: SETTINGS.reference(name) for name in SETTINGS.populations},
        settings=SETTINGS.analysis_settings("readers").model_dump(),
        confidence=SETTINGS.analysis.comparisons.confidence,
        code=when_asked(
            modules_fingerprint,
            [
                "insd.tables.readings",
                *GRID.analyses()["readers"].modules(
                    SETTINGS.analysis_settings("readers")
                ),
            ],
        ),
    script:
        "../scripts/readings.py"


rule comparisons:
    """Alternatives against standard networks in every regime and under every perturbation, with intervals."""
    input:
        table=TABLE,
        performance=by_task("performance"),
        robustness=by_task("robustness"),
    output:
        comparisons=report(
            COMPARISONS,
            category="tables",
            labels={"table": "comparisons", "kind": "csv"},
            caption="../report/table_comparisons.rst",
        ),
    log:
        "results/logs/comparisons/all.log",
    benchmark:
        "results/benchmarks/comparisons/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        tasks=list(SETTINGS.tasks),
        settings=SETTINGS.analysis.comparisons.model_dump(),
        code=when_asked(code_fingerprint, "insd.tables.comparisons"),
    script:
        "../scripts/comparisons.py"


rule summary:
    """What the grid shows, on one page: solved networks, predictivity and its baselines, dynamics, losses, costs."""
    input:
        table=TABLE,
        comparisons=COMPARISONS,
        predictivity=by_task("predictivity"),
        inputs=by_task("inputs"),
        performance=by_task("performance"),
        lines=by_task("line_attractor", GRID.analysis_tasks("line_attractor")),
    output:
        page=SUMMARY,
        statements=report(
            STATEMENTS,
            category="tables",
            labels={"table": "summary", "kind": "csv"},
            caption="../report/table_summary.rst",
        ),
    log:
        "results/logs/summary/all.log",
    benchmark:
        "results/benchmarks/summary/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1000),
        runtime=per_attempt(5),
    params:
        tasks=list(SETTINGS.tasks),
        integrators=GRID.analysis_tasks("line_attractor"),
        # The page shows the config; its order and what figures show change no number. As a function, since Snakemake would
        # take a `{task}` in the path of a recording for a wildcard.
        config=when_asked(
            partial(json.dumps, sort_keys=True),
            {name: part for name, part in config.items() if name != "figures"},
        ),
        settings=SETTINGS.analysis.comparisons.model_dump(),
        code=when_asked(
            modules_fingerprint, ["insd.tables.summary", "insd.tables.summary_page"]
        ),
    script:
        "../scripts/summary.py"


# The analyses that claims read, each with the tasks that have it: any other changes nothing for them.
CLAIMED = {
    name: tasks
    for name, tasks in GRID.file_tasks().items()
    if name
    in (
        "predictivity",
        "dsa",
        "decoding",
        "corners",
        "line_attractor",
        "kernel_decoding",
        "axes",
    )
}
# Those that a grid may not have.
CLAIMED |= {
    name: GRID.analysis_tasks(name)
    for name in ("teacher", "behaviour", "equilibria", "rank", "readers")
    if GRID.analysis_tasks(name)
}

# The table that claims on degeneracy read, where there is something in it.
TABLES_CLAIMED = (
    {"degeneracy_ratios": DEGENERACY_RATIOS}
    if GRID.analysis_tasks("degeneracy")
    else {}
)


rule claims:
    """The published statements of papers, claim by claim, next to what the grid shows."""
    input:
        unpack(
            lambda wildcards: {
                name: by_task(name, tasks) for name, tasks in also_claimed().items()
            }
        ),
        **{name: by_task(name, tasks) for name, tasks in CLAIMED.items()},
        **TABLES_CLAIMED,
        table=TABLE,
        comparisons=COMPARISONS,
    output:
        claims=report(
            CLAIMS,
            category="tables",
            labels={"table": "claims", "kind": "csv"},
            caption="../report/table_claims.rst",
        ),
        page=CLAIMS_PAGE,
    log:
        "results/logs/claims/all.log",
    benchmark:
        "results/benchmarks/claims/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        analysed=lambda wildcards: CLAIMED | also_claimed(),
        claims=SETTINGS.claims,
        settings=SETTINGS.analysis.comparisons.model_dump(),
        code=when_asked(
            modules_fingerprint,
            [plugins.module_of("claims", name) for name in SETTINGS.claims],
        ),
    script:
        "../scripts/claims.py"
