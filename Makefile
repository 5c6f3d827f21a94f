# make paper	set up, and reproduce the paper's grid
# make demo	set up, and run the small grid of config/demo.yaml
# make test	set up, and run the tests
# make lint	set up, and check format, lint, types and the workflow
# make results	copy the table of the paper's grid into the documentation
# make schema	write the config's schema and table of keys anew, after a change in src/insd/settings.py
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
# snakefmt wants a newer `packaging` than Snakemake allows, and so lives in an environment of its own.
SNAKEFMT := snakefmt==2.1.0
WORKFLOW := Snakefile workflow/rules

.PHONY: paper demo test lint schema results
paper: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete

demo: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --rerun-incomplete --configfile config/demo.yaml

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed .venv-format/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	.venv-format/bin/snakefmt --check $(WORKFLOW)
	$(BIN)/mypy
	$(BIN)/snakemake --lint

results: paper
	cp results/tables/summary.md docs/results.md

schema: .venv/installed
	$(BIN)/python workflow/schemas/generate.py

# The stamps are written last: an installation that was interrupted is taken up again.
.venv/installed: pyproject.toml envs/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "Python 3.11 to 3.13 is needed; name one by: make PYTHON=python3.12 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint envs/constraints.txt --editable '.[workflow,test]'
	touch $@

.venv-format/installed: Makefile
	test -x .venv-format/bin/python || $(PYTHON) -m venv .venv-format
	.venv-format/bin/python -m pip install --quiet $(SNAKEFMT)
	touch $@
