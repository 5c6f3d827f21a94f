rule archive:
    """All results but the activity that no figure reads, in one file with checksums: figures are made again from it."""
    input:
        all_trials(),
        [
            path
            for task in SETTINGS.tasks
            for name in ("network.nc", "history.nc")
            for path in round_files(name, task)
        ],
        grid.files_of_figures(SETTINGS),
        all_analyses(),
        all_tables(),
        all_explorers(),
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
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    params:
        code=code_fingerprint("insd.archive"),
    script:
        "../scripts/archive.py"
