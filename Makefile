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
FORECASTS := $(BIN)/greenloop collect forecast --out $(ADAPTER)/forecasts
HEAD := $(BIN)/greenloop train forecast --threads $(THREADS) --device $(DEVICE) --records $(ADAPTER)/forecasts \
  --set train_limit=1500 --set validation_limit=500
COLLECT := $(BIN)/greenloop collect decide --set records_per_episode=60 --set forecast_head=$(ADAPTER)/head
TRAIN := $(BIN)/greenloop train decide --threads $(THREADS) --device $(DEVICE) --set layers=4 --set task.distil=0.9 \
  --set epochs=1
NET := phase_net:folder=$(ADAPTER)/first/phase_net
MORE := $(COLLECT) --set draw_seed=1 --set "drive=['$(NET)', '$(NET)', holding]" --out $(ADAPTER)/more
# Without branches: the plain network answers. Crowded junctions, and lanes that have waited for minutes.
CHEAP := $(COLLECT) --set branches=false --set records_per_episode=330 --set draw_seed=2 --set "drive=['$(NET)']"
CROWDED := $(CHEAP) --set "demand_scales=[1.2, 2.4]" --out $(ADAPTER)/crowded
STARVED := $(CHEAP) --set imagined_share=0.7 --out $(ADAPTER)/starved
adapter: $(VENV)/.ready
	$(FORECASTS) --split validation --runs $(call RUNS,12)
	$(FORECASTS) --split train --runs $(call RUNS,84)
	$(HEAD) --out $(ADAPTER)/head
	$(COLLECT) --split validation --runs $(call RUNS,30) --out $(ADAPTER)/records
	$(COLLECT) --split train --runs $(call RUNS,300) --out $(ADAPTER)/records
	$(TRAIN) --records $(ADAPTER)/records --set learning_rate=2e-3 --out $(ADAPTER)/first
	$(MORE) --split validation --runs $(call RUNS,15)
	$(MORE) --split train --runs $(call RUNS,150)
	$(CROWDED) --split validation --runs $(call RUNS,6)
	$(CROWDED) --split train --runs $(call RUNS,70)
	$(STARVED) --split validation --runs $(call RUNS,6)
	$(STARVED) --split train --runs $(call RUNS,80)
	$(TRAIN) --records $(ADAPTER)/records --records $(ADAPTER)/more --records $(ADAPTER)/crowded \
	  --records $(ADAPTER)/starved --set start=$(ADAPTER)/first/adapter --set learning_rate=1.5e-3 \
	  --out $(ADAPTER)/second
	$(HEAD) --set start=$(ADAPTER)/second/adapter --out $(ADAPTER)/second_head

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
