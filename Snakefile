# Iterative Neural Similarity Deflation: trials -> rounds -> analysis -> tables -> figures.
#
#   snakemake --cores 8              everything
#   snakemake rounds --cores 8       one stage: rounds, analysis or figures
#   snakemake --cores 8 --configfile config/demo.yaml      a smaller grid, laid over config/config.yaml
from snakemake.utils import min_version

min_version("9.0")


configfile: "config/config.yaml"


# Helper functions, and the checks of the config
include: "workflow/rules/common.smk"
# Stages
include: "workflow/rules/trials.smk"
include: "workflow/rules/rounds.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"


# Targets
rule all:
    default_target: True
    input:
        all_figures(),
        all_analyses(),
        TABLE,


rule rounds:
    input:
        all_rounds(),


rule analysis:
    input:
        all_analyses(),
        TABLE,


rule figures:
    input:
        all_figures(),
