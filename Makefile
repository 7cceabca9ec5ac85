# Everything runs from .venv, which comes from uv.lock. No target needs anything installed by hand.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two more than there are cores: many tests wait for processes and time limits.
WORKERS := $(shell expr $$(nproc 2>/dev/null || echo 2) + 2)
export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON := $(BIN)/python
export UV_PYTHON_DOWNLOADS := never
# Where the surroundings forbid bytecode files every process compiles all its imports anew: half of the tests' time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test slow check bench faults fmt generate setup clean

help:  ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(BIN)/.ready: uv.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "make: no virtual environment could be made; install python3-venv (apt-get install python3-venv) and run again" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv sync --quiet --frozen --inexact
	@touch $@

setup: $(BIN)/.ready  ## make the virtual environment

demo: $(BIN)/.ready  ## a whole small campus: devices, broker, agent, ingest, store, page
	@$(BIN)/plantroom demo

test: $(BIN)/.ready  ## the tests; Debian packages that only tests need are installed when root or sudo allows
	@bash tests/install_peers.sh || true
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not slow"

slow: $(BIN)/.ready  ## the tests that make test leaves out: kills, long outages, whole campuses
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m slow

check: $(BIN)/.ready  ## ruff, mypy --strict, import rules, profile lint, generated files fresh
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/plantroom profile lint
	@$(BIN)/python -m device_profiles.catalogue --check
	@$(BIN)/python -m gateway.contract.generate --check

generate: $(BIN)/.ready  ## write CATALOGUE.md, the JSON Schemas and the AsyncAPI document anew
	@$(BIN)/python -m device_profiles.catalogue
	@$(BIN)/python -m gateway.contract.generate

fmt: $(BIN)/.ready  ## format and sort imports
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

bench: $(BIN)/.ready  ## measure; prints ratios with the machine's name
	@$(BIN)/plantroom bench all

faults: $(BIN)/.ready  ## the fault tests at every system call (slow)
	@PLANTROOM_FAULTS=all $(BIN)/pytest -n $(WORKERS) --dist worksteal --timeout 900 tests/faults

clean:  ## remove the virtual environment and what the tools left
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache .hypothesis
