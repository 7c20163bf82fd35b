# Everything runs in a virtual environment of its own; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench clean

## demo: a real Cologne network with incidents, classical controllers against the language model
demo: $(VENV)/.ready
	$(BIN)/greenloop run --suite demo --out results/demo

## test: style, types and the whole test suite
test: $(VENV)/.ready-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

## bench: what a simulated hour costs beside the plain sumo program
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'greenloop needs Python 3.11 or newer; try make PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
