# The common commands, one line each. PYTHON chooses the interpreter: make train PYTHON=python3.12
PYTHON  ?= python3
# python3 uses .venv, with the versions of all recorded results. Another PYTHON uses a folder named by
# its version and, from 3.12, the newest JAX.
ifeq ($(PYTHON),python3)
VENV    := .venv
else
VENV    := .venv-$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
PINS    := $(if $(filter .venv .venv-3.11,$(VENV)),,-newest)
BIN     := $(VENV)/bin
PIP      = $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKDIR ?= runs/lenet5_quickstart

.DEFAULT_GOAL := help
.PHONY: help install lock train test test-all attack test-slurm sweep bench reproduce results docs check format clean

help:        ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 18

install: $(VENV)/.installed  ## a virtual environment in .venv, everything pinned and checked by hash

# pip first: the version that comes with Python may be years old. The new one checks the rest.
$(VENV)/.installed: pyproject.toml requirements$(PINS).txt
	@echo "setting up $(VENV) (once, a minute or two) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@sed -n '/^pip==/,/[^\\]$$/p' requirements$(PINS).txt > $(VENV)/pip.txt
	@$(PIP) --require-hashes -r $(VENV)/pip.txt
	@$(PIP) --require-hashes -r requirements$(PINS).txt
	@PYTHONWARNINGS=ignore $(PIP) --no-deps --no-build-isolation -e .
	@touch $@

lock:        ## write requirements*.txt again after a change of pyproject.toml or constraints*.txt (needs uv)
	@for version in 3.11 3.12-newest; do pins=$${version#3.1?}; \
	  { sed -n '/^#/p' requirements$$pins.txt; printf 'pip\nsetuptools>=77\n' | \
	  uv pip compile --quiet pyproject.toml - --extra dev --constraints constraints$$pins.txt \
	  --universal --python-version $${version%-newest} --generate-hashes --no-header --no-annotate; \
	  } > requirements.new && mv requirements.new requirements$$pins.txt || exit; done

train: install  ## LeNet-5 on real handwritten digits, under a minute on a laptop
	@$(BIN)/lenet-alexnet train --config=configs/lenet5_quickstart.py --workdir=$(WORKDIR)

# Without compiler optimisations, the fast tests take a third of the time; test-all compiles as users do.
test: install  ## the fast tests
	@XLA_FLAGS=--xla_backend_optimization_level=0 $(BIN)/python -m pytest -n 2 --dist=loadfile -m "not slow"

test-all: install  ## every test
	@$(BIN)/python -m pytest -n 2 --dist=loadfile

attack: install  ## the tests of faults and attacks, see docs/attacks.md
	@$(BIN)/python -m pytest -n 2 -m attack

test-slurm: install  ## a job and a sweep on a one-node Slurm cluster (root on Debian)
	@$(PIP) -c constraints$(PINS).txt -e '.[slurm]'
	@$(BIN)/python tests/helpers/slurm_cluster.py

sweep: install  ## 8 learning rates x 4 seeds as one program
	@$(BIN)/lenet-alexnet sweep --config=configs/sweeps/lenet5_lr_seeds.py --workdir=runs/lr_seeds

bench: install  ## images per second of LeNet-5's training step
	@$(BIN)/lenet-alexnet bench lenet5

reproduce: install  ## every number of both papers, beside ours
	@$(BIN)/lenet-alexnet reproduce

results: install  ## write the tables of the READMEs from the run records
	@$(BIN)/python -m lenet_alexnet.reproduce.collect tables

# Material advertises other generators at each build; that is not about these pages.
docs: .venv/.docs  ## build docs/ as a site in site/, to read offline
	@NO_MKDOCS_2_WARNING=1 JAX_PLATFORMS=cpu $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

.venv/.docs: .venv/.installed constraints.txt
	@PYTHONWARNINGS=ignore $(PIP) -c constraints.txt -e '.[docs]'
	@touch $@

check: install  ## format, lint and types
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

format: install  ## rewrite the code in the house format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

clean:       ## remove the virtual environment, runs and caches
	rm -rf .venv .venv-* runs build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
