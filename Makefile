# sphereflow: `make help` lists the targets.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PATTERN ?=

# Two BLAS or OpenMP threads on a small busy machine are slower than one.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= $(OMP_NUM_THREADS)

.DEFAULT_GOAL := help
# What is looked at on other interpreters in CI, and with the oldest dependencies.
SMOKE := tests/test_smoke.py tests/attention/test_pair_sums.py tests/machine/test_plain_state.py

.PHONY: help setup demo test test-all test-newer test-lowest lint schema validate docs report clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(STAMP) ## make .venv and install the package with its system libraries

$(STAMP): pyproject.toml .ci/setup.sh
	@bash .ci/setup.sh $(VENV)
	@touch $@

demo: $(STAMP) ## run two of the shipped experiments into demo/
	$(BIN)/sphereflow demo --directory demo

test: lint ## static checks and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-all: $(STAMP) ## the tests on every interpreter from 3.11 on that is found
	for python in $$(bash .ci/interpreters.sh); do bash .ci/test_on.sh $$python || exit 1; done

test-newer: $(STAMP) ## a smoke test on the newest interpreter, if newer than that of .venv
	for python in $$(bash .ci/interpreters.sh --newer | tail -n 1); do \
	    bash .ci/test_on.sh $$python $(SMOKE) || exit 1; done

test-lowest: ## a smoke test with the lower bounds of the dependencies
	bash .ci/test_lowest.sh $(SMOKE)

lint: $(STAMP) ## static checks only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

schema: $(STAMP) ## write the JSON schema of experiment files beside the shipped ones
	$(BIN)/sphereflow schema -o data/experiments/schema.json

validate: $(STAMP) ## run validation/[0-9]*.py, or those that contain PATTERN=...
	$(BIN)/sphereflow validate $(PATTERN)

docs: $(STAMP) ## build the documentation into docs/_build/html and run its pages
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check_pages.py docs/_build/html

report: $(STAMP) ## run all validation scripts and keep their report in docs/report
	$(BIN)/sphereflow validate
	cp validation/results/report.md validation/results/*.png docs/report/

clean: ## remove everything that the other targets made
	rm -rf $(VENV) $(VENV)-* demo build dist docs/_build docs/generated docs/jupyter_execute .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
