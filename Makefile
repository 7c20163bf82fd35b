# Everything runs in a virtual environment of its own; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs bench latency adapter clean

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

## docs: the documentation as a site, in site/; a broken link or anchor ends it
docs: $(VENV)/.ready-dev
	$(BIN)/mkdocs build --strict

## bench: what a simulated hour costs beside the plain sumo program
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed

## latency: what a decision of the language model costs on this machine, beside a plain transformers call
latency: $(VENV)/.ready
	$(BIN)/python -m benchmarks.latency --out results/latency.json

## adapter: the shipped adapter and plain network again from nothing, in runs/adapter; stop it and start it as you like
ADAPTER := runs/adapter
adapter: $(VENV)/.ready
	$(BIN)/greenloop collect --scenarios validation --episodes 24 --per-episode 60 --out $(ADAPTER)/records
	$(BIN)/greenloop collect --scenarios train --episodes 240 --per-episode 60 --out $(ADAPTER)/records
	$(BIN)/greenloop train --records $(ADAPTER)/records --layers 6 --epochs 1 --learning-rate 2e-3 --distil 0.8 --out $(ADAPTER)/first
	for split in validation:16 train:150; do $(BIN)/greenloop collect --scenarios $${split%:*} --episodes $${split#*:} \
	  --per-episode 60 --draw-seed 1 --out $(ADAPTER)/more --then phase_net:folder=$(ADAPTER)/first/phase_net \
	  --drive phase_net:folder=$(ADAPTER)/first/phase_net --drive phase_net:folder=$(ADAPTER)/first/phase_net --drive holding; done
	$(BIN)/greenloop train --records $(ADAPTER)/records --records $(ADAPTER)/more --start $(ADAPTER)/first/adapter --layers 6 \
	  --epochs 1 --learning-rate 1.5e-3 --distil 0.8 --out $(ADAPTER)/second

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
