# Needs Python 3.11 or newer, make and git; everything else is put into $(VENV).
# Another Python: make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
PORT ?= 8765
SECONDS ?= 60

BIN := $(VENV)/bin
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))
READY := $(VENV)/.ready
LOCK := uv pip compile pyproject.toml --group dev --universal --python-version 3.11 \
	--custom-compile-command "make lock" --output-file requirements.lock

.DEFAULT_GOAL := help
.PHONY: help setup test tests again lint format demo demo-stop fuzz perf lock upgrade clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Make the virtual environment: the locked packages, the host and the plugins of the tree

$(READY): requirements.lock pyproject.toml $(PLUGINS:=/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "benchhost needs Python 3.11 or newer, and $(PYTHON) is not. Name another: make PYTHON=python3.13 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV), once: about 145 packages, which take from one minute to five."; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
	  $(patsubst %,--editable ./%,. $(PLUGINS))
	@touch $@

test: lint tests ## Check and test everything

tests: $(READY)
	@$(BIN)/python -m pytest --quiet --numprocesses auto --dist worksteal

again: $(READY) lint ## Test once more, one at a time, what failed last
	@$(BIN)/python -m pytest --quiet --last-failed --last-failed-no-failures none

lint: $(READY) ## Check style and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo "The files above are not formatted: make format" >&2; exit 1; }
	@$(BIN)/mypy

format: $(READY) ## Bring the code into its form, and mend what can be mended
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

demo: $(READY) ## Start a host, grade over HTTP, run a model, and leave the host running to look at (PORT=8765)
	@$(BIN)/python docs/demo.py start --port $(PORT)

demo-stop: $(READY) ## Stop the host of the demo
	@$(BIN)/python docs/demo.py stop

fuzz: $(READY) ## Fuzz for long: routes, sockets, and each decoder for SECONDS=60, guided by atheris where there is a wheel
	@FUZZ_LONG=1 $(BIN)/python -m pytest --quiet -o faulthandler_timeout=3600 tests/fuzz
	@$(BIN)/python tests/fuzz/guided.py --seconds $(SECONDS)

perf: $(READY) ## Measure the host against a service of the same routes (some minutes)
	@$(BIN)/python tests/perf/run.py

lock: $(READY) ## Write requirements.lock anew where pyproject.toml asks for it
	@$(BIN)/$(LOCK) --quiet

upgrade: $(READY) ## Write requirements.lock with the newest releases
	@$(BIN)/$(LOCK) --quiet --upgrade

clean: ## Remove what was made; the demo is stopped first
	@test ! -x $(BIN)/python || $(BIN)/python docs/demo.py stop
	@rm -rf $(VENV) .demo .benchhost .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
