# Everything a developer runs. `make run` and `make test` need Python 3.11 or newer, and nothing else, on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
PORT ?= 8000

BIN := $(VENV)/bin
EXAMPLE := examples/machine_app
TYPESCRIPT := tests/e2e/typescript tests/e2e/typescript-v1
NODE_STAMPS := $(if $(shell command -v npm),$(addsuffix /.installed,$(TYPESCRIPT)))
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --allow-unsafe --generate-hashes --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --build-deps-for editable

.DEFAULT_GOAL := help
.PHONY: help setup run test check bench torture lock reference

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/.installed-dev $(NODE_STAMPS) ## install the pinned dependencies, those of the tests too

run: $(VENV)/.installed ## serve the example machine app on http://127.0.0.1:8000 (PORT=… for another port)
	@echo "The example machine app: open http://127.0.0.1:$(PORT)/ for its RPCs and how to call them; Ctrl-C stops it."
	@exec $(BIN)/uvicorn --app-dir $(EXAMPLE) --host 127.0.0.1 --port $(PORT) --timeout-graceful-shutdown 2 main:app

test: setup ## run the tests (ARGS="-k name" for some of them)
	$(BIN)/python -m pytest $(ARGS)

check: setup ## lint, formatting and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup ## measure, each figure next to an alternative (ARGS="--quick accessor" for a look, ARGS=--help)
	$(BIN)/python -m bench $(ARGS)

torture: setup ## crash, fuzz and load tests in full count
	$(BIN)/python -m pytest -m torture -rP $(ARGS)

reference: setup ## write docs/reference/ from the docstrings
	$(BIN)/python docs/reference/generate.py

lock: setup ## pin the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade --extra fast --output-file requirements.lock pyproject.toml
	$(COMPILE) --upgrade --all-extras --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

%/.installed: %/package-lock.json
	cd $* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
