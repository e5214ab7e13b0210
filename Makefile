# What a developer does with prodlensd. Needs Python 3.11 or newer, make and git; the rest goes into .venv.

PYTHON ?= python3
ARGS ?=
SOAK_MINUTES ?= 30
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -o cache_dir=.cache/pytest
# More than two at a time on two cores: many of them wait for a process, those of `make test-all` longer.
PARALLEL := -n 3 --dist loadgroup
PARALLEL_ALL := -n 4 --dist loadgroup
PIP_INSTALL := $(BIN)/python -m pip install -qq --constraint constraints.txt

# .venv grows in three steps, each on top of the one before: the program, what `make test` needs, and the
# large packages that only the tests marked real_programs need.
PROGRAM := $(VENV)/.program
DEV := $(VENV)/.dev
REAL_PROGRAMS := $(VENV)/.real-programs
# Beside them, what the benchmarks compare with.
BENCH := $(VENV)/.bench

# What those tests ask besides: a systemd in a container of its own, Prometheus, strace, Spark (on Java), shells,
# Chromium, podman.
SYSTEM_PROGRAMS := debootstrap systemd-nspawn systemd-analyze prometheus promtool strace java zsh fish man chromium \
  podman runc catatonit ip
SYSTEM_PACKAGES := debootstrap systemd systemd-container prometheus strace default-jre-headless zsh fish man-db chromium \
  podman runc catatonit iproute2

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Whatever the shell says: the tests start hundreds of interpreters, and each would compile anew what it imports.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo run test test-all lint bench bench-smoke soak audit prices clean system-packages programs fetched

help: ## list what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: $(PROGRAM) ## read three sample traces and a made-up month in a scratch folder; show what is told of them
	@$(BIN)/prodlensd demo

run: $(PROGRAM) ## run the daemon in the foreground (ARGS="--once" for one pass)
	@exec $(BIN)/prodlensd run $(ARGS)

test: lint ## check style and types, and run the tests (ARGS="tests/unit -x" for a part)
	@$(PYTEST) $(PARALLEL) --hypothesis-profile=quick $(ARGS)

test-all: programs lint ## the same with long tests, and those that ask real programs, which it installs first
	@$(PYTEST) $(PARALLEL_ALL) -m "not soak" $(ARGS)

lint: $(DEV) ## check style and types
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

bench: $(BENCH) ## measure against the budgets
	@$(BIN)/python -m benchmarks $(ARGS)

bench-smoke: $(BENCH) ## the same with little of everything, in a minute: only for wrong counts
	@$(BIN)/python -m benchmarks --smoke

soak: $(REAL_PROGRAMS) ## destroy files and kill daemons for SOAK_MINUTES (30), with SOAK_SEED or any
	@$(PYTEST) --hypothesis-profile=explore tests/unit
	@SOAK_MINUTES=$(SOAK_MINUTES) $(PYTEST) -m soak $(ARGS)

audit: $(PROGRAM) ## compare our prices with LiteLLM's, name by name
	@$(BIN)/python -m tests.prices.audit

prices: $(PROGRAM) ## make prodlensd/pricing/litellm_prices.json anew from 36 versions of LiteLLM (1 GB)
	@$(BIN)/python -m tests.prices.make

programs: system-packages $(REAL_PROGRAMS) fetched ## install the programs that `make test-all` asks

# Those of them that are no part of .venv, which tests may be using meanwhile.
fetched: system-packages $(DEV)
	@$(BIN)/python -m tests.programs

# It comes first, so it says all that will be installed. RUNLEVEL=1: nothing that is installed is started.
system-packages:
	@test -e $(REAL_PROGRAMS) || { \
	  echo "make test-all installs, once and where missing:"; \
	  echo "  into the system: $(SYSTEM_PACKAGES)"; \
	  echo "  into $(VENV): pandas, Polars and atheris (470 MB)"; \
	  echo "  into .cache: three LiteLLMs, Spark, moto, a GCS emulator, podman-compose, a small system with systemd (2.4 GB)"; }
	@missing=$$(for program in $(SYSTEM_PROGRAMS); do command -v $$program >/dev/null || echo $$program; done); \
	[ -z "$$missing" ] && exit; \
	echo "Installing $(SYSTEM_PACKAGES) with apt-get, for" $$missing; \
	mkdir -p .cache && { apt-get -qq update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	  apt-get -qq -y --no-install-recommends install $(SYSTEM_PACKAGES); } >.cache/apt-get.log 2>&1 || { \
	  cat .cache/apt-get.log >&2; \
	  echo "They could not be installed. That takes root, on Debian or Ubuntu; make test needs none of them." >&2; \
	  exit 1; }

clean: ## remove all that make made
	@rm -rf $(VENV) .cache build dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew whenever the dependencies change, so that nothing stays behind from before.
$(PROGRAM): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prodlensd needs Python 3.11 or newer, and $(PYTHON) is %s.%s: name another one with PYTHON=..." % sys.version_info[:2])'
	@echo "Setting up $(VENV), once; this takes about 20 seconds."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) pip
	@$(PIP_INSTALL) --build-constraint constraints.txt --editable .
	@touch $@

$(DEV): $(PROGRAM)
	@echo "Adding the tools for style, types and tests to $(VENV), once."
	@$(PIP_INSTALL) --group dev
	@touch $@

$(BENCH): $(PROGRAM)
	@$(PIP_INSTALL) --group bench
	@touch $@

$(REAL_PROGRAMS): $(DEV)
	@echo "Adding pandas, Polars and atheris to $(VENV), once."
	@$(PIP_INSTALL) --group real-programs
	@touch $@
