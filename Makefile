# kairos: every command does its own set-up in .venv; nothing else is needed but Python 3.11+ and make.
SHELL  := /bin/sh
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
WORKERS = $(shell expr 1 + $$(nproc 2>/dev/null || echo 1))  # of the tests: one more than cores, for they wait a lot

# What is compiled is kept: commands and tests start processes by the hundred.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check bench test-peers crash-matrix soak format lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "kairos needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev,fast]'
	@touch $@

demo: $(READY) ## Watch the main job: a synthetic operator against the real server, on this machine
	$(BIN)/kairos demo $(ARGS)

test: $(READY) ## The tests (under ten minutes on two cores)
	PYTEST_XDIST_AUTO_NUM_WORKERS=$(WORKERS) $(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: $(READY) ## Lint, format, types, layers and the example playbook
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/kairos check examples/prepaid
	$(BIN)/kairos test examples/prepaid

bench: $(READY) ## Measure: rules, events and memory (one JSON object at the end of each)
	$(BIN)/kairos bench rules --json
	$(BIN)/kairos bench events --json
	$(BIN)/kairos bench memory --json

test-peers: $(READY) ## Tests against foreign servers (sets up what it can, skips the rest with a reason) and the long ones
	-sh tests/peers/setup.sh
	$(BIN)/python -m pytest -m 'peers or long' -rs $(ARGS)

crash-matrix: $(READY) ## Kill the server at every named point, 245 times, and print what came of it (minutes)
	$(BIN)/python -m pytest -q -s -m long tests/system/test_system_crash_matrix.py $(ARGS)

soak: $(READY) ## Ten minutes with a fault every 10 s: ledgers equal, memory flat (SOAK_SECONDS=60 for less)
	SOAK_SECONDS=$${SOAK_SECONDS:-600} SOAK_FAULT_EVERY=$${SOAK_FAULT_EVERY:-10} $(BIN)/python -m pytest -q -s -m long tests/system/test_system_soak.py $(ARGS)

format: $(READY) ## Put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: ## Resolve the dependency ranges anew into requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --extra dev --extra fast --extra audiences --extra onnx --extra channels -o requirements.lock pyproject.toml

clean: ## Remove what the commands above made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
