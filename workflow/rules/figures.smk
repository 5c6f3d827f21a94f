rule figure_deflation:
    """Predictivity between all networks of a task, and how training went."""
    input:
        predictivity="results/{task}/analysis/predictivity.nc",
        table=TABLE,
        histories=lambda wildcards: GRID.round_files(wildcards.task, ["history"]),
    output:
        svg=report(
            "results/figures/deflation_{task}.svg",
            category=task_name,
            labels={"figure": "predictivity and training", "kind": "figure"},
            caption="../report/figure_deflation.rst",
        ),
        pdf="results/figures/deflation_{task}.pdf",
        png="results/figures/deflation_{task}.png",
    log:
        "results/logs/figure_deflation/{task}.log",
    benchmark:
        "results/benchmarks/figure_deflation/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        rounds=lambda wildcards: GRID.blocks(wildcards.task, writes="history"),
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.deflation"),
    script:
        "../scripts/figure_deflation.py"


rule figure_front:
    """Task score and loss against predictivity towards the reference, over all deflated networks."""
    input:
        table=TABLE,
    output:
        svg=report(
            "results/figures/front.svg",
            category="all tasks",
            labels={"figure": "score and predictivity", "kind": "figure"},
            caption="../report/figure_front.rst",
        ),
        pdf="results/figures/front.pdf",
        png="results/figures/front.png",
    log:
        "results/logs/figure_front/all.log",
    benchmark:
        "results/benchmarks/figure_front/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        numbers=NUMBERS,
        tasks={task: SETTINGS.task_parameters(task) for task in SETTINGS.tasks},
        code=code_fingerprint("insd.figures.front"),
    script:
        "../scripts/figure_front.py"


rule figure_collapse:
    """Figure 1: predictivity among standard networks, and how measures respond to irrelevant dimensions."""
    input:
        table=TABLE,
        predictivity=by_task("predictivity"),
        responses=by_task("responses"),
    output:
        svg=report(
            "results/figures/collapse.svg",
            category="all tasks",
            labels={"figure": "collapse (figure 1)", "kind": "figure"},
            caption="../report/figure_collapse.rst",
        ),
        pdf="results/figures/collapse.pdf",
        png="results/figures/collapse.png",
    log:
        "results/logs/figure_collapse/all.log",
    benchmark:
        "results/benchmarks/figure_collapse/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        tasks=list(SETTINGS.tasks),
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.collapse"),
    script:
        "../scripts/figure_collapse.py"


rule figure_mechanism:
    """Figures 2 to 4, one per task: how the reference and its alternatives solve it, side by side."""
    input:
        table=TABLE,
        trials="results/{task}/trials/test.nc",
        networks=lambda wildcards: shown_files("network.nc", wildcards.task),
        activities=lambda wildcards: shown_files("activity.nc", wildcards.task),
        points="results/{task}/analysis/fixed_points.nc",
        predictivity="results/{task}/analysis/predictivity.nc",
        dsa="results/{task}/analysis/dsa.nc",
        decoding="results/{task}/analysis/decoding.nc",
    output:
        svg=report(
            "results/figures/mechanism_{task}.svg",
            category=task_name,
            labels={"figure": "mechanism (figures 2 to 4)", "kind": "figure"},
            caption="../report/figure_mechanism.rst",
        ),
        pdf="results/figures/mechanism_{task}.pdf",
        png="results/figures/mechanism_{task}.png",
    log:
        "results/logs/figure_mechanism/{task}.log",
    benchmark:
        "results/benchmarks/figure_mechanism/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        chain=SETTINGS.shown_chain(),
        parameters=task_parameters,
        rounds=lambda wildcards: GRID.made_with(
            wildcards.task, GRID.shown_blocks(wildcards.task)
        ),
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.mechanism"),
    script:
        "../scripts/figure_mechanism.py"


rule figure_regimes:
    """Figure 5: performance in harder regimes and under perturbations, with intervals over networks."""
    input:
        table=TABLE,
        performance=by_task("performance"),
        robustness=by_task("robustness"),
        comparisons=COMPARISONS,
    output:
        svg=report(
            "results/figures/regimes.svg",
            category="all tasks",
            labels={"figure": "regimes (figure 5)", "kind": "figure"},
            caption="../report/figure_regimes.rst",
        ),
        pdf="results/figures/regimes.pdf",
        png="results/figures/regimes.png",
    log:
        "results/logs/figure_regimes/all.log",
    benchmark:
        "results/benchmarks/figure_regimes/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        chain=SETTINGS.shown_chain(),
        tasks=list(SETTINGS.tasks),
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.regimes"),
    script:
        "../scripts/figure_regimes.py"


rule figure_regime_grids:
    """Supplement of figure 5: scores over noise at each duration, of which figure 5 shows the differences."""
    input:
        table=TABLE,
        performance=by_task("performance"),
        comparisons=COMPARISONS,
    output:
        svg=report(
            "results/figures/regime_grids.svg",
            category="all tasks",
            labels={"figure": "regimes, scores", "kind": "figure"},
            caption="../report/figure_regime_grids.rst",
        ),
        pdf="results/figures/regime_grids.pdf",
        png="results/figures/regime_grids.png",
    log:
        "results/logs/figure_regime_grids/all.log",
    benchmark:
        "results/benchmarks/figure_regime_grids/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        chain=SETTINGS.shown_chain(),
        tasks=list(SETTINGS.tasks),
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.regimes"),
    script:
        "../scripts/figure_regime_grids.py"


rule figure_networks:
    """All networks in numbers: score, restarts, dimensions, frequencies, fixed points, similarity to the reference."""
    input:
        table=TABLE,
    output:
        svg=report(
            "results/figures/networks.svg",
            category="all tasks",
            labels={"figure": "all networks", "kind": "figure"},
            caption="../report/figure_networks.rst",
        ),
        pdf="results/figures/networks.pdf",
        png="results/figures/networks.png",
    log:
        "results/logs/figure_networks/all.log",
    benchmark:
        "results/benchmarks/figure_networks/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=per_attempt(1500),
        runtime=per_attempt(10),
    params:
        score_names={task: SETTINGS.task(task).score_name for task in SETTINGS.tasks},
        numbers=NUMBERS,
        code=code_fingerprint("insd.figures.networks"),
    script:
        "../scripts/figure_networks.py"
