# Copyright 2026 the sqz_perception authors
# SPDX-License-Identifier: Apache-2.0

PYTHON ?= python3
ROS ?= jazzy
WORKERS ?= 2
ARGS ?=

SHELL := /bin/bash
export VENV := $(if $(filter jazzy,$(ROS)),.venv,.venv-$(ROS))
WITH := source "$$VENV"/setup.bash &&
PYTEST := python -m pytest -n $(WORKERS)

# Jazzy carries everything; another distribution runs only what touches ROS 2.
ifeq ($(ROS),jazzy)
GOAL := all
TESTS := not slow
else
GOAL := test
TESTS := ros and not slow
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-update test test-slow lint bench lock clean distclean

define SETUP
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
  || { echo 'error: $(PYTHON) is not Python 3.10 to 3.13: make PYTHON=python3.12 ...' >&2; exit 1; }
@$(PYTHON) scripts/setup_env.py --ros $(ROS) --venv "$$VENV"
endef

help:  ## list the targets
	@sed -nE 's/^([a-z-]+): .*## (.*)/  make \1\t\2/p' Makefile | expand -t 18
	@echo
	@echo '  PYTHON=python3.12  use another Python (3.10 to 3.13)'
	@echo '  ROS=kilted         use another ROS 2 from PyPI, in a virtual environment of its own'
	@echo '  VENV=FOLDER        make the virtual environment elsewhere (default: .venv)'
	@echo '  WORKERS=4          processes that the tests are shared among (default: 2; 0: none)'
	@echo '  ARGS="..."         pass arguments on to demo, test, test-slow and bench'

setup:  ## make the virtual environment that the demo runs in
	$(SETUP) demo

demo:  ## classify pictures over ROS 2
	$(SETUP) demo
	@$(WITH) python scripts/demo.py $(ARGS)

demo-update:  ## update the model of a running robot over the air
	$(SETUP) demo
	@$(WITH) python scripts/demo_update.py

test:  ## run the tests
	$(SETUP) $(GOAL)
	@$(WITH) $(PYTEST) -m '$(TESTS)' $(ARGS)

test-slow:  ## run the tests that take long
	$(SETUP) $(GOAL)
	@$(WITH) $(PYTEST) --dist worksteal -m slow $(ARGS)

bench:  ## measure latency, start-up, memory and accuracy
	$(SETUP) $(GOAL)
	@$(WITH) python -m benchmarks $(ARGS)

lint:  ## check style, types and imports
	$(SETUP) lint
	@"$$VENV"/bin/ruff check
	@"$$VENV"/bin/ruff format --check
	@"$$VENV"/bin/mypy
	@"$$VENV"/bin/lint-imports --no-cache

lock:  ## lock the versions and hashes of what is installed, at the newest that requirements/ allows
	$(SETUP) lock
	@"$$VENV"/bin/python scripts/lock.py

clean:  ## remove what builds and runs leave
	@[ -f scripts/setup_env.py ] || { echo 'error: run make in the root of the checkout' >&2; exit 1; }
	rm -rf build install log dist *.egg-info demo.png .benchmarks .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean  ## remove the virtual environments that make has made, too
	for marker in .venv*/.made-by-sqz_perception; do [ ! -f "$$marker" ] || rm -rf "$${marker%/*}"; done
	@for folder in .venv .venv-*; do [ ! -e "$$folder" ] || echo "$$folder stays: make did not make it"; done
