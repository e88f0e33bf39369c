# make run: the default run.  make test: every check.  make help: all targets.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= $(shell nproc 2>/dev/null || echo 2)
BIN := .venv/bin
SNAKEMAKE := $(BIN)/snakemake --quiet reason --cores $(CORES)

.PHONY: help install run tiny observe-example test pytest fuzz kills test-xspec test-cluster lint benchmarks schema docs clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: .venv/installed ## make the virtual environment .venv

# torch first and alone: it takes the build (CPU, CUDA) that this machine's pip offers.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt \
		"$$(grep '^torch==' constraints.txt)"
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[test,workflow]'
	touch $@

run: .venv/installed ## Table 1, Figures 1 to 8 and the report, as config.yaml says
	$(BIN)/icflow fetch
	$(SNAKEMAKE)
	@cat results/tables/table1.md
	@echo "The report, with all figures: results/report.html"

tiny: .venv/installed ## the same with few spectra, in two minutes
	$(BIN)/icflow fetch
	$(SNAKEMAKE) --configfile config/tiny.yaml

observe-example: .venv/installed ## look for IC in the spectrum that ships with the project
	$(BIN)/icflow fetch
	$(SNAKEMAKE) observe --configfile config/observe-example.yaml
	@echo "The page of it: results/observe/example/observation.pdf"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

# Both at once, as either leaves a core idle for a while.
test: .venv/installed ## style, types and all tests
	$(BIN)/icflow fetch
	$(MAKE) --jobs 2 lint pytest

# Whatever the environment says, byte code is kept for all processes that tests start.
pytest: export PYTHONDONTWRITEBYTECODE :=
pytest: .venv/installed
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

# About an hour; `make fuzz EXAMPLES=100` is over sooner.
fuzz: EXAMPLES ?= 2000
fuzz: .venv/installed ## damaged and odd input of every kind: a sentence or an answer, never else
	$(BIN)/icflow fetch
	EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/fuzz

kills: KILLS ?= 60
kills: .venv/installed ## kill runs at random moments, as often as KILLS says: the same bytes
	$(BIN)/icflow fetch
	KILLS=$(KILLS) $(BIN)/python -m pytest tests/workflow/test_random_kills.py -m kills --capture=no

# The first part needs nothing of ours but the files; the second tests the engine as a whole. Both
# run, whatever fails. XSPEC is looked for without being imported, which would write to the home.
FIND_XSPEC := import importlib.util as u, sys; sys.exit(u.find_spec("xspec") is None)
test-xspec: ## check XSPEC and the engine on it: make test-xspec PYTHON=/python/with/xspec
	@if ! $(PYTHON) -c '$(FIND_XSPEC)'; then \
		echo "*** make test-xspec: NOTHING WAS TESTED, $(PYTHON) has no XSPEC (import xspec);" \
			"name one that has: make test-xspec PYTHON=/python/with/xspec ***"; \
		exit 0; \
	fi; \
	status=0; \
	if test -x $(BIN)/icflow; then $(BIN)/icflow fetch || status=1; fi; \
	$(PYTHON) -m pytest tests/xspec || status=1; \
	if test -x $(BIN)/icflow; then \
		ICFLOW_XSPEC_PYTHON="$(PYTHON)" $(BIN)/python -m pytest tests/conformance -k xspec || \
			status=1; \
	else echo "make test-xspec: no .venv here (make install), the engine as a whole is not tested"; \
	fi; \
	exit $$status

test-cluster: .venv/installed ## run the workflow through a real Slurm in a real image (root, Debian)
	$(BIN)/icflow fetch
	$(BIN)/python -m pytest tests/cluster -m 'slurm or container' --capture=no

benchmarks: .venv/installed ## measure speed and accuracy on this machine, 8 min (results/benchmarks.json)
	$(BIN)/icflow fetch
	$(BIN)/python benchmarks

schema: .venv/installed ## write config/schema.json and the tables in config/README.md anew
	$(BIN)/python -m icflow.schema

docs: .venv/installed ## make the HTML site of the documentation, the tutorial run (build/site)
	$(BIN)/icflow fetch
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env --quiet --conf-dir docs/site \
		--doctree-dir build/doctrees . build/site
	@echo "The site: build/site/index.html"

clean: ## delete results, keep the environment and fetched files
	rm -rf build results .snakemake
