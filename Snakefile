# Iterative Neural Similarity Deflation: trials -> rounds -> analysis -> tables -> figures.
#
#   snakemake --cores 8              everything
#   snakemake rounds --cores 8       one stage: rounds, analysis or figures
#   snakemake --cores 8 --configfile config/demo.yaml      a smaller grid, laid over config/config.yaml
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


# What the report (snakemake --report report.html) begins with
report: "workflow/report/workflow.rst"


# Helper functions, and the checks of the config
include: "workflow/rules/common.smk"
# Stages
include: "workflow/rules/trials.smk"
include: "workflow/rules/rounds.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/pages.smk"


onstart:
    # Jobs of this machine begin when cores are free. Snakemake's default limit of 100 jobs a second adds nothing to that,
    # and makes it look for new jobs again a second after each look: one look a second more for every job that has ended,
    # which after some 150 of them is a core's full work (Snakemake 9.27). Without it, Snakemake looks when a job has
    # ended. Another limit, given by --max-jobs-per-timespan, stays.
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    by_default = limit and (limit.max_jobs, limit.timespan) == (100, 1)
    # The attribute is private to Snakemake: under a different name, nothing happens.
    if (
        workflow.local_exec
        and by_default
        and hasattr(workflow.scheduler, "job_rate_limiter")
    ):
        workflow.scheduler.job_rate_limiter = None


# Targets. `all` names every file, so that one that was deleted is made again even if what was made of it is there.
rule all:
    default_target: True
    input:
        GRID.trial_files(),
        GRID.all_rounds(),
        GRID.pair_files(),
        GRID.analysis_files(),
        all_tables(),
        files.figure_files(GRID),
        expand("results/explorer/{task}.html", task=SETTINGS.tasks),


rule rounds:
    input:
        GRID.all_rounds(),


rule analysis:
    input:
        GRID.pair_files(),
        GRID.analysis_files(),
        all_tables(),


rule figures:
    input:
        files.figure_files(GRID),
