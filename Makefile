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
COLLECT := $(BIN)/greenloop collect --per-episode 60
TRAIN := $(BIN)/greenloop train --layers 6 --distil 0.9
FIRST_NET := phase_net:folder=$(ADAPTER)/first/phase_net
SECOND := language_model:adapter=$(ADAPTER)/second/adapter
adapter: $(VENV)/.ready
	for split in validation:30 train:300; do $(COLLECT) --scenarios $${split%:*} --episodes $${split#*:} \
	  --out $(ADAPTER)/records; done
	$(TRAIN) --records $(ADAPTER)/records --epochs 2 --learning-rate 2e-3 --out $(ADAPTER)/first
	for split in validation:15 train:150; do $(COLLECT) --scenarios $${split%:*} --episodes $${split#*:} --draw-seed 1 \
	  --drive $(FIRST_NET) --drive $(FIRST_NET) --drive holding --then $(FIRST_NET) --out $(ADAPTER)/more; done
	$(TRAIN) --records $(ADAPTER)/records --records $(ADAPTER)/more --start $(ADAPTER)/first/adapter --epochs 2 \
	  --learning-rate 1.5e-3 --out $(ADAPTER)/second
	$(COLLECT) --episodes 60 --draw-seed 2 --drive $(SECOND) --drive $(SECOND) --drive $(FIRST_NET) --then $(FIRST_NET) \
	  --out $(ADAPTER)/own
	$(TRAIN) --records $(ADAPTER)/records --records $(ADAPTER)/more --records $(ADAPTER)/own \
	  --start $(ADAPTER)/second/adapter --epochs 2 --learning-rate 1.5e-3 --out $(ADAPTER)/third
	for split in validation:12 train:84; do $(BIN)/greenloop collect-forecasts --split $${split%:*} --runs $${split#*:} \
	  --out $(ADAPTER)/forecasts; done
	$(BIN)/greenloop train-forecast --records $(ADAPTER)/forecasts --adapter $(ADAPTER)/third/adapter --train-limit 1500 \
	  --validation-limit 500

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
