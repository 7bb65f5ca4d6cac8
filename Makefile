# Two commands do everything on a fresh machine: `make demo` and `make test`.
# They need git, make and a Python >= 3.11 with pip; the rest they get themselves.

PYTHON ?= $(shell command -v python3.12 || command -v python3 || command -v python)
UV := .tools/bin/uv
RUN := $(UV) run --no-sync
# A machine with its own ROS 2 uses that one; elsewhere the wheels serve. Never both in one environment.
ROS := $(if $(wildcard /opt/ros/*),,--extra ros)
# Exact would take extras away, and rclpy, whose wheel brings a second name.
SYNC := $(UV) sync --frozen --inexact --group bench $(ROS)
# Optional extras: `make setup EXTRAS="heif ray realsense"`.
EXTRAS ?=
OUT ?= out/demo
SOURCES := tandem.py calibration hardware rl_online robot_ws/src tests twin vla

.DEFAULT_GOAL := help
.PHONY: help setup demo twin test lint format types bench clean

help:  ## This list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.synced  ## uv, Python 3.12, system packages, the locked environment; EXTRAS="heif ray realsense" adds extras
	@$(if $(EXTRAS),$(SYNC) $(addprefix --extra ,$(EXTRAS)))

$(UV):
	@$(PYTHON) .ci/get_uv.py .tools

.venv/.synced: pyproject.toml uv.lock .python-version .ci/system_packages.sh | $(UV)
	@sh .ci/system_packages.sh
	@$(SYNC)
	@touch $@

demo: setup  ## The whole loop on the simulated bench: scan, twin, demos, SFT, RFT, RL in the twin, guided RL, report
	@$(RUN) tandem demo $(OUT)

twin: setup  ## Its first part alone: film the simulated bench, build its twin, compare with the truth
	@$(RUN) tandem bench demo out/twin

test: setup  ## Lint, types, import rules and all tests
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) lint-imports --no-logo
	@$(RUN) pyright
	@$(RUN) python -m compileall -q $(SOURCES)  # hundreds of processes follow, which may not be allowed to write it
	@$(RUN) pytest -q -n 2 --dist worksteal -m "not alone"
	@$(RUN) pytest -q -m alone

format: setup  ## Format and fix what can be fixed
	@$(RUN) ruff check --fix .
	@$(RUN) ruff format .

# tray.py wants finished twins, metaworld.py an environment of its own.
NEEDS_MORE := benchmarks/tray.py $(if $(wildcard benchmarks/envs/metaworld/.venv),,benchmarks/metaworld.py)
bench: setup  ## Every benchmark that needs nothing else, quickly
	@for file in $(filter-out $(NEEDS_MORE),$(sort $(wildcard benchmarks/[a-z]*.py))); do \
	  ! grep -q '"--quick"' $$file || $(RUN) python $$file --quick || exit 1; done

clean:  ## Remove outputs and caches, keep the environment
	rm -rf out .pytest_cache .ruff_cache .import_linter_cache
