rule similarity:
    """Linear predictivity and the usual measures of similarity between all networks of a task."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
    output:
        predictivity="results/{task}/analysis/predictivity.nc",
        similarity="results/{task}/analysis/similarity.nc",
    log:
        "results/logs/similarity/{task}.log",
    benchmark:
        "results/benchmarks/similarity/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        code=code_fingerprint("insd.analysis.similarity"),
    script:
        "../scripts/similarity.py"


rule measure_responses:
    """How each measure of similarity responds to irrelevant dimensions and to scale, on a reference's activity."""
    input:
        activity=lambda wildcards: reference_activity(wildcards.task),
    output:
        responses="results/{task}/analysis/responses.nc",
    log:
        "results/logs/measure_responses/{task}.log",
    benchmark:
        "results/benchmarks/measure_responses/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        code=code_fingerprint("insd.analysis.similarity"),
    script:
        "../scripts/measure_responses.py"


rule performance:
    """Loss and score of all networks of a task in the regime `test`, every harder one, and a grid of them."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials=lambda wildcards: regime_files(wildcards.task),
    output:
        performance="results/{task}/analysis/performance.nc",
    log:
        "results/logs/performance/{task}.log",
    benchmark:
        "results/benchmarks/performance/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        parameters=task_parameters,
        regimes=lambda wildcards: evaluation_regimes(wildcards.task),
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        grid_trials=SETTINGS.analysis.grid_trials,
        code=code_fingerprint("insd.analysis.performance"),
    script:
        "../scripts/performance.py"


rule robustness:
    """Loss and score of all networks of a task under noise, damage, kicks and a finer time step."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials="results/{task}/trials/test.nc",
    output:
        robustness="results/{task}/analysis/robustness.nc",
    log:
        "results/logs/robustness/{task}.log",
    benchmark:
        "results/benchmarks/robustness/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        parameters=task_parameters,
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        settings=SETTINGS.analysis.robustness.model_dump(),
        code=code_fingerprint("insd.analysis.robustness"),
    script:
        "../scripts/robustness.py"


rule dsa:
    """Dynamical similarity between all networks of a task."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
    output:
        dsa="results/{task}/analysis/dsa.nc",
    log:
        "results/logs/dsa/{task}.log",
    benchmark:
        "results/benchmarks/dsa/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        settings=SETTINGS.analysis.dsa.model_dump(),
        code=code_fingerprint("insd.analysis.dsa"),
    script:
        "../scripts/dsa.py"


rule fixed_points:
    """Fixed points, slow points and cycles of all networks of a task under each of its static inputs."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials="results/{task}/trials/test.nc",
    output:
        points="results/{task}/analysis/fixed_points.nc",
    log:
        "results/logs/fixed_points/{task}.log",
    benchmark:
        "results/benchmarks/fixed_points/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    params:
        parameters=task_parameters,
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        settings=SETTINGS.analysis.fixed_points.model_dump(),
        code=code_fingerprint("insd.analysis.fixed_points"),
    script:
        "../scripts/fixed_points.py"


rule line_attractor:
    """The line along which the points of each network lie, and the evidence that moves its state along it."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        points="results/{task}/analysis/fixed_points.nc",
    output:
        lines="results/{task}/analysis/line_attractor.nc",
    log:
        "results/logs/line_attractor/{task}.log",
    benchmark:
        "results/benchmarks/line_attractor/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        parameters=task_parameters,
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        code=code_fingerprint("insd.analysis.line_attractor"),
    script:
        "../scripts/line_attractor.py"


rule decoding:
    """Cross-validated decoding of the task variables, at each time and from one time to another."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        trials="results/{task}/trials/test.nc",
    output:
        decoding="results/{task}/analysis/decoding.nc",
    log:
        "results/logs/decoding/{task}.log",
    benchmark:
        "results/benchmarks/decoding/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    params:
        parameters=task_parameters,
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        settings=SETTINGS.analysis.decoding.model_dump(),
        code=code_fingerprint("insd.analysis.decoding"),
    script:
        "../scripts/decoding.py"


rule recordings:
    """How well all networks of a task predict the recordings that chains begin with, on held-out trials."""
    input:
        networks=lambda wildcards: round_files("network.nc", wildcards.task),
        activities=lambda wildcards: round_files("activity.nc", wildcards.task),
        bank="results/{task}/trials/train.nc",
        files=lambda wildcards: list(existing_recordings(wildcards.task).values()),
    output:
        recordings="results/{task}/analysis/recordings.nc",
    log:
        "results/logs/recordings/{task}.log",
    benchmark:
        "results/benchmarks/recordings/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        files=lambda wildcards: SETTINGS.recordings(wildcards.task),
        held_out=lambda wildcards: held_out_trials(wildcards.task),
        rounds=lambda wildcards: made_with(wildcards.task, round_blocks(wildcards.task)),
        code=code_fingerprint("insd.analysis.recordings"),
    script:
        "../scripts/recordings.py"


rule network_table:
    """One row per network of all tasks: how well it does, and how similar it is to the earlier ones of its chain."""
    input:
        networks=[
            path for task in SETTINGS.tasks for path in round_files("network.nc", task)
        ],
        activities=[
            path
            for task in SETTINGS.tasks
            for path in round_files("activity.nc", task)
        ],
        trials=expand("results/{task}/trials/test.nc", task=SETTINGS.tasks),
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
        dsa=expand("results/{task}/analysis/dsa.nc", task=SETTINGS.tasks),
        points=expand("results/{task}/analysis/fixed_points.nc", task=SETTINGS.tasks),
        robustness=expand("results/{task}/analysis/robustness.nc", task=SETTINGS.tasks),
        recordings=recording_analyses(),
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
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 15 * attempt,
    params:
        tasks=list(SETTINGS.tasks),
        references={name: SETTINGS.reference(name) for name in SETTINGS.populations},
        rounds=lambda wildcards: {
            task: made_with(task, round_blocks(task)) for task in SETTINGS.tasks
        },
        noise_probes=SETTINGS.analysis.noise_probes,
        code=code_fingerprint("insd.tables.networks"),
    script:
        "../scripts/network_table.py"


rule levels:
    """What activity, dynamics and topology each say of every network against its reference, and where they disagree."""
    input:
        table=TABLE,
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
        dsa=expand("results/{task}/analysis/dsa.nc", task=SETTINGS.tasks),
        points=expand("results/{task}/analysis/fixed_points.nc", task=SETTINGS.tasks),
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
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        chain=SETTINGS.shown_chain(),
        tasks=list(SETTINGS.tasks),
        code=code_fingerprint("insd.tables.levels"),
    script:
        "../scripts/levels.py"


rule comparisons:
    """Alternatives against standard networks in every regime and under every perturbation, with intervals."""
    input:
        table=TABLE,
        performance=expand(
            "results/{task}/analysis/performance.nc", task=SETTINGS.tasks
        ),
        robustness=expand("results/{task}/analysis/robustness.nc", task=SETTINGS.tasks),
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
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        tasks=list(SETTINGS.tasks),
        settings=SETTINGS.analysis.comparisons.model_dump(),
        code=code_fingerprint("insd.tables.comparisons"),
    script:
        "../scripts/comparisons.py"


rule summary:
    """What the grid shows, on one page: solved networks, predictivity and its baselines, dynamics, losses, costs."""
    input:
        table=TABLE,
        comparisons=COMPARISONS,
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
        performance=expand(
            "results/{task}/analysis/performance.nc", task=SETTINGS.tasks
        ),
        lines=expand("results/{task}/analysis/line_attractor.nc", task=integrators()),
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
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    params:
        tasks=list(SETTINGS.tasks),
        integrators=integrators(),
        # What figures show changes no number.
        config={name: part for name, part in config.items() if name != "figures"},
        code=code_fingerprint("insd.tables.summary"),
    script:
        "../scripts/summary.py"


rule claims:
    """The paper's published statements, claim by claim, beside what the grid shows."""
    input:
        table=TABLE,
        comparisons=COMPARISONS,
        predictivity=expand(
            "results/{task}/analysis/predictivity.nc", task=SETTINGS.tasks
        ),
        dsa=expand("results/{task}/analysis/dsa.nc", task=SETTINGS.tasks),
        decoding=expand("results/{task}/analysis/decoding.nc", task=SETTINGS.tasks),
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
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    params:
        tasks=list(SETTINGS.tasks),
        code=code_fingerprint("insd.analysis.claims"),
    script:
        "../scripts/claims.py"


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
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    params:
        code=code_fingerprint("insd.report"),
    script:
        "../scripts/table_page.py"
