# make quick	set up, and make every figure of a few small networks on one task, in the folder quick/
# make demo	set up, and run the small grid of config/demo.yaml
# make paper	set up, and reproduce the paper's grid
# make report	write report.html: all figures and tables of the paper's grid, with captions, in one page
# make archive	write results/archive.tar: what all figures of the paper's grid can be made again from
# make wheel	build a wheel in dist/ that carries the compiled loops for this kind of processor and this version of Python
# make test	set up, and run the tests
# make test-slurm	set up, and run the workflow on a SLURM of four nodes on this machine (as root on Debian; else skipped)
# make lint	set up, and check format, lint, types and the workflow
# make docs	set up, and build the documentation in site/; a warning fails
# make results	copy the tables and figures of the paper's grid into the documentation
# make resources	memory and run time of each rule in the results that are there
# make benchmark	write docs/benchmarks.md and the numbers of docs/scale.md: speed beside the usual tools, of the grid, and how cost grows (half an hour on a quiet machine, after the paper's grid, which it reads and makes if it is not there)
# make schema	write the config's schema, its table of keys, and the tables of figures and claims, after a change in src/insd/settings/, src/insd/figures/ or docs/claims.md
# make schematic	draw the schematic of the method in docs/figures/
PYTHON ?= python3
BIN := .venv/bin
CORES ?= all
# What is installed besides the library: `oracles` and `docs` follow where they are needed.
EXTRAS := workflow,slurm,test
# snakefmt wants a newer `packaging` than Snakemake allows, and so lives in an environment of its own.
SNAKEFMT := snakefmt==2.1.0
WORKFLOW := Snakefile workflow/rules
# What the documentation shows: other grids may have left theirs beside them. Its `front` is that of config/sweep.yaml, its
# `ladder` that of config/studies/equal_training.yaml, its `generators` that of config/studies/generators.yaml, its `capacity`
# that of config/studies/capacity.yaml, its `degeneracy` that of config/studies/degeneracy.yaml.
FIGURES := collapse.png regimes.png regime_grids.png networks.png $(foreach task,\
    context_integration flip_flop memory_pro,mechanism_$(task).png deflation_$(task).png)

# A bar and one line per running job instead of every job's files, which are in Snakemake's log.
SNAKEMAKE := $(BIN)/snakemake --cores $(CORES) --rerun-incomplete --logger insd

.PHONY: paper quick demo report archive wheel docs test test-slurm lint schema schematic results resources benchmark
paper: .venv/installed
	$(SNAKEMAKE)

# In a folder of its own: its networks have the names of the paper's grid.
quick: .venv/installed
	$(SNAKEMAKE) --directory quick --configfile config/config.yaml config/quick.yaml

demo: .venv/installed
	$(SNAKEMAKE) --configfile config/demo.yaml

report: paper
	$(BIN)/snakemake --report report.html

archive: paper
	$(BIN)/snakemake archive --cores $(CORES)

# What an earlier build left would be packed, too.
wheel: .venv/installed
	rm -rf build
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# In a process for each core; tests of a file share what they begin with. All, or those that TESTS tells pytest.
test: .venv/oracles
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(TESTS)

test-slurm: .venv/installed
	PYTHON=$(BIN)/python tests/slurm/run.sh

lint: .venv/installed .venv-format/installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	.venv-format/bin/snakefmt --check $(WORKFLOW)
	$(BIN)/mypy
	$(BIN)/snakemake --lint

docs: .venv/docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs site

results: paper
	cp results/tables/summary.md docs/results.md
	cp results/tables/claims.md docs/claims.md
	$(BIN)/python workflow/schemas/generate.py
	mkdir -p docs/figures
	cp $(addprefix results/figures/,$(FIGURES)) docs/figures/

resources: .venv/installed
	$(BIN)/python -m insd.resources results/benchmarks

benchmark: paper .venv/benchmarks
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/analyses.py results
	$(BIN)/python benchmarks/grid.py results
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/pairs.py
	$(BIN)/python benchmarks/gpu.py

schema: .venv/installed
	$(BIN)/python workflow/schemas/generate.py

schematic: .venv/installed
	$(BIN)/python docs/schematic.py

# The stamps are written last: an installation that was interrupted is taken up again, also before it had pip.
# Snakemake does not quote the interpreter's path in the commands of its jobs.
.venv/installed: pyproject.toml setup.py $(wildcard src/insd/networks/engine/*.[ch]) envs/constraints.txt
	@case "$$PWD" in *[[:space:]]*) echo "$$PWD: jobs cannot start Python from a path with a blank; move the clone to a \
	path without, or make the environment there and run 'snakemake' from it here"; exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	    { echo "Python 3.11 to 3.13 is needed; name one by: make PYTHON=python3.12 ..."; exit 1; }
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv || \
	    { echo "delete the folder .venv and run make again"; exit 1; }
	$(BIN)/python -m pip install --constraint envs/constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

.venv/oracles: .venv/installed
	$(BIN)/python -m pip install --constraint envs/constraints.txt --editable '.[oracles]'
	touch $@

.venv/benchmarks: .venv/oracles
	$(BIN)/python -m pip install --constraint envs/constraints.txt --editable '.[benchmarks]' || \
	    echo "JAX does not install here: the benchmarks leave it out"
	touch $@

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --constraint envs/constraints.txt --editable '.[docs]'
	touch $@

.venv-format/installed: Makefile
	.venv-format/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv-format
	.venv-format/bin/python -m pip install --quiet $(SNAKEFMT)
	touch $@
