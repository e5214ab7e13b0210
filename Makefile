# What a developer does with prodlensd. Needs Python 3.11 or newer, make and git; the rest goes into .venv.

PYTHON ?= python3
ARGS ?=
SOAK_MINUTES ?= 30
SYSTEM_PACKAGES := debootstrap systemd-container prometheus strace default-jre-headless
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test lint bench soak clean system-packages

help: ## list what there is to make
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 14

demo: $(READY) ## read three sample traces in a scratch folder; show status and report
	@$(BIN)/prodlensd demo

run: $(READY) ## run the daemon in the foreground (ARGS="--once" for one pass)
	@exec $(BIN)/prodlensd run $(ARGS)

test: lint system-packages ## check everything, as CI does (ARGS="tests/unit -x" for a part)
	@$(BIN)/python -m pytest -q -o cache_dir=.cache/pytest -n 2 --dist loadgroup $(ARGS)

lint: $(READY) ## check style and types
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

bench: $(READY) ## measure against the budgets
	@$(BIN)/python -m benchmarks $(ARGS)

soak: $(READY) ## destroy files and kill daemons for SOAK_MINUTES (30), with SOAK_SEED or any
	@$(BIN)/python -m pytest -q -o cache_dir=.cache/pytest --hypothesis-profile=explore tests/unit
	@SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest -m soak $(ARGS)

# Some tests ask real programs: a systemd in a small system of its own, Prometheus, strace, Spark (on Java).
# Where these cannot be had, those tests are skipped and say so. (RUNLEVEL=1: nothing that is installed is started.)
system-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	  && ! { command -v debootstrap && command -v systemd-nspawn && command -v prometheus \
	    && command -v strace && command -v java; } >/dev/null; then \
	  echo "Installing $(SYSTEM_PACKAGES), once."; \
	  { apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq -y --no-install-recommends install $(SYSTEM_PACKAGES); } >/dev/null 2>&1 \
	  || echo "They cannot be installed; the tests that need them will be skipped."; \
	fi

clean: ## remove all that make made
	@rm -rf $(VENV) .cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever the dependencies change, so that nothing stays behind from before.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prodlensd needs Python 3.11 or newer, and $(PYTHON) is %s.%s: name another one with PYTHON=..." % sys.version_info[:2])'
	@echo "Setting up $(VENV), once; this takes about a minute."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt pip
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --build-constraint constraints.txt --group dev --editable .
	@touch $@
