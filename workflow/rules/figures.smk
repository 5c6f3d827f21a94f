rule figure_deflation:
    """Predictivity between all networks of a task, and how training went."""
    input:
        predictivity="results/{task}/analysis/predictivity.nc",
        table=TABLE,
        histories=lambda wildcards: round_files("history.nc", wildcards.task),
    output:
        svg="results/figures/deflation_{task}.svg",
        pdf="results/figures/deflation_{task}.pdf",
    log:
        "results/logs/figure_deflation/{task}.log",
    benchmark:
        "results/benchmarks/figure_deflation/{task}.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
    params:
        rounds=round_blocks(),
        code=code_fingerprint("insd.plotting.deflation"),
    script:
        "../scripts/figure_deflation.py"


rule figure_front:
    """Task score and loss against predictivity towards the reference, over all deflated networks."""
    input:
        table=TABLE,
    output:
        svg="results/figures/front.svg",
        pdf="results/figures/front.pdf",
    log:
        "results/logs/figure_front/all.log",
    benchmark:
        "results/benchmarks/figure_front/all.tsv"
    conda:
        "../../envs/insd.yaml"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=10,
    params:
        code=code_fingerprint("insd.plotting.front"),
    script:
        "../scripts/figure_front.py"
