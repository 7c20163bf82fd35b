# Everything runs in a virtual environment of its own; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs bench latency claim rivals adapter clean

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

## bench: what a simulated hour costs beside the plain sumo program, and an environment's step beside sumo-rl
## (half an hour; on a calm machine: make bench SPEED=benchmarks/published/speed.json)
SPEED := results/speed.json
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed.simulated_hour --out $(SPEED)

## latency: what a decision of the language model costs on this machine, beside a plain transformers call
latency: $(VENV)/.ready
	$(BIN)/python -m benchmarks.speed.latency --out results/latency.json

## claim: two held-out networks run again, compared with the published rows digit for digit; a quarter of an hour
claim: $(VENV)/.ready
	$(BIN)/python -m benchmarks.run.claim --out results/claim

## rivals: PPO and DQN trained on each held-out network itself, three seeds each and the same simulated hours, then
## scored as the suite scores (make rivals HOURS=1 RIVALS=runs/try for a first look); stop and start it as you like
RIVALS := runs/rivals
HOURS := 30
SCORED := cologne3 cologne8 ingolstadt1 ingolstadt7 ingolstadt21 grid4x4
SEEDS := 1 2 3
POLICIES = $(foreach algorithm,ppo dqn,$(foreach seed,$(SEEDS),\
  --controller reinforcement:folder=$(RIVALS)/$(algorithm)-$(1)/seed-$(seed)))
define rival
	for algorithm in ppo dqn; do \
	  $(BIN)/greenloop train-rl --on-scored-network --algorithm $$algorithm --scenario $(1) --hours $(HOURS) \
	    --seeds $(words $(SEEDS)) --out $(RIVALS)/$$algorithm-$(1) || exit 1; done
	$(BIN)/greenloop run --suite held_out --scenario $(1) $(call POLICIES,$(1)) --no-figures --out $(RIVALS)/results

endef
rivals: $(VENV)/.ready-dev
	$(foreach network,$(SCORED),$(call rival,$(network)))

## adapter: an adapter and plain network like the shipped ones, in runs/adapter; stop and start it as you like
## (make adapter PERCENT=1 ADAPTER=runs/try takes every step with a hundredth of the runs, in minutes)
ADAPTER := runs/adapter
PERCENT := 100
RUNS = $$((($(1) * $(PERCENT) + 99) / 100))
THREADS := 2
DEVICE := cpu
FORECASTS := $(BIN)/greenloop collect-forecasts --out $(ADAPTER)/forecasts
HEAD := $(BIN)/greenloop train-forecast --threads $(THREADS) --device $(DEVICE) --records $(ADAPTER)/forecasts \
  --train-limit 1500 --validation-limit 500
COLLECT := $(BIN)/greenloop collect --per-episode 60 --forecast-head $(ADAPTER)/head
TRAIN := $(BIN)/greenloop train --threads $(THREADS) --device $(DEVICE) --layers 4 --distil 0.9
NET := phase_net:folder=$(ADAPTER)/first/phase_net
MORE := $(COLLECT) --draw-seed 1 --drive $(NET) --drive $(NET) --drive holding --out $(ADAPTER)/more
# Without branches: the plain network answers. Crowded junctions, and lanes that have waited for minutes.
CHEAP := $(COLLECT) --no-branches --per-episode 330 --draw-seed 2 --drive $(NET)
CROWDED := $(CHEAP) --demand-scales 1.2 2.4 --out $(ADAPTER)/crowded
STARVED := $(CHEAP) --imagined 0.7 --out $(ADAPTER)/starved
adapter: $(VENV)/.ready
	$(FORECASTS) --split validation --runs $(call RUNS,12)
	$(FORECASTS) --split train --runs $(call RUNS,84)
	test -e $(ADAPTER)/head/forecast_head.json || $(HEAD) --out $(ADAPTER)/head
	$(COLLECT) --scenarios validation --episodes $(call RUNS,30) --out $(ADAPTER)/records
	$(COLLECT) --scenarios train --episodes $(call RUNS,300) --out $(ADAPTER)/records
	$(TRAIN) --records $(ADAPTER)/records --epochs 1 --learning-rate 2e-3 --out $(ADAPTER)/first
	$(MORE) --scenarios validation --episodes $(call RUNS,15)
	$(MORE) --scenarios train --episodes $(call RUNS,150)
	$(CROWDED) --scenarios validation --episodes $(call RUNS,6)
	$(CROWDED) --scenarios train --episodes $(call RUNS,70)
	$(STARVED) --scenarios validation --episodes $(call RUNS,6)
	$(STARVED) --scenarios train --episodes $(call RUNS,80)
	$(TRAIN) --records $(ADAPTER)/records --records $(ADAPTER)/more --records $(ADAPTER)/crowded \
	  --records $(ADAPTER)/starved --start $(ADAPTER)/first/adapter --epochs 1 --learning-rate 1.5e-3 \
	  --out $(ADAPTER)/second
	$(HEAD) --adapter $(ADAPTER)/second/adapter

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
