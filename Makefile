# Everything here needs only Python (3.10 or newer) and make; `make help` lists the targets.
PYTHON ?= python3
VENV ?= .venv
DATA ?= data
WEIGHTS ?= pretrained
ARGS ?=

BIN := $(VENV)/bin
RUNS := $(VENV)/.installed
TESTS := $(VENV)/.installed-test
DOCS := $(VENV)/.installed-docs

.DEFAULT_GOAL := help
.PHONY: help bench digits digits-full photos surf speed test lint checks docs clean
.DELETE_ON_ERROR:

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-20s %s\n", $$1, $$2 }'
	@echo "Variables: PYTHON=$(PYTHON)  VENV=$(VENV)  DATA=$(DATA) (folder of real data sets)  WEIGHTS=$(WEIGHTS)  ARGS= (more options)"

bench: $(RUNS)  ## the embedded table: three tasks on real digits, no download, some four minutes of training on two cores
	$(BIN)/landbridge bench optdigits --out runs/optdigits $(ARGS)

digits: $(RUNS)  ## MNIST <-> USPS, the small protocol, three seeds; DATA=folder
	$(BIN)/landbridge bench digits --tasks 'mnist->usps,usps->mnist' --data '$(DATA)' --out runs/digits $(ARGS)

digits-full: $(RUNS)  ## every digits task, the full protocol, one seed; DATA=folder
	$(BIN)/landbridge bench digits --protocol full --seeds 1 --data '$(DATA)' --out runs/digits-full $(ARGS)

photos: $(RUNS)  ## Office-Caltech10 on frozen SqueezeNet features, 12 tasks, three seeds; DATA=folder WEIGHTS=file
	$(BIN)/landbridge data prepare office-caltech10 --data '$(DATA)'
	$(BIN)/landbridge bench office-caltech10 --frozen --backbone squeezenet1_0 --weights '$(WEIGHTS)' --out runs/office-caltech10 $(ARGS)

surf: $(RUNS)  ## the classical methods on SURF features, both published protocols and the one tuned as published; DATA=folder
	$(BIN)/landbridge bench office-caltech10-surf --data '$(DATA)' --out runs/surf $(ARGS)
	$(BIN)/landbridge bench office-caltech10-surf --protocol twenty --data '$(DATA)' --out runs/surf $(ARGS)
	$(BIN)/landbridge bench office-caltech10-surf --protocol published-tuning --data '$(DATA)' --out runs/surf $(ARGS)

speed: $(RUNS)  ## what a loss and a training step cost over the plain way of writing them
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/losses.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/fit_overhead.py
	$(BIN)/python benchmarks/speed/fit_overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/alignment_share.py --plain
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/cell_overhead.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/plug_in.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/speed/recompilations.py

test: $(TESTS)  ## the test suite and the examples of all docstrings
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/pytest $(ARGS)

lint: $(TESTS)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

checks: $(TESTS)  ## scikit-learn's own checks of every estimator, one by one
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python tests/estimator_checks.py

docs: $(DOCS)  ## the documentation, into site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict $(ARGS)

clean:  ## remove what building and testing leave behind; keeps the environment and runs/
	rm -rf build dist site landbridge.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
	find . -path './$(VENV)' -prune -o -path ./runs -prune -o -type d -name __pycache__ -exec rm -rf {} +

# pip comes last into a new environment: where it is, the environment is whole.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 10) or sys.exit("landbridge needs Python 3.10 or newer; $(PYTHON) is %d.%d. Try: make PYTHON=python3.12" % v[:2])'
	$(PYTHON) -m venv $(VENV)

$(RUNS): pyproject.toml setup.cfg | $(BIN)/pip
	$(BIN)/python -m pip install -e .
	touch $@

$(TESTS): pyproject.toml setup.cfg | $(BIN)/pip
	$(BIN)/python -m pip install -e '.[test]'
	touch $(RUNS) $@

$(DOCS): pyproject.toml setup.cfg | $(BIN)/pip
	$(BIN)/python -m pip install -e '.[docs]'
	touch $(RUNS) $@
