# Every target sets up what it needs: a virtual environment in .venv with the pinned tools, the three packages installed
# in place, and the native module, rebuilt when Rust sources changed. Needs Python 3.11 or newer with venv, cargo, make.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(shell command -v $(name))))
VENV := .venv
BIN := $(VENV)/bin
BENCH := .cache/bench
PEERS := .cache/peers
FUZZ := .cache/cargo-fuzz
RUN := $(BIN)/python
# One Python for every cargo call: another would make PyO3 compile again. The certificates are the system's, for proxies.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export UV_SYSTEM_CERTS := 1
export VIRTUAL_ENV := $(CURDIR)/$(VENV)

NATIVE := packages/l0-core/src/l0_core/_native.abi3.so
NATIVE_CRATES := $(wildcard crates/l0-engine crates/l0-journal crates/l0-python)
NATIVE_SOURCES := Cargo.toml Cargo.lock $(shell find $(NATIVE_CRATES) -name '*.rs' -o -name Cargo.toml)
PYTHON_SOURCES := $(shell find packages/*/src -name '*.py' -o -name '*.pyi')
CHECKED := $(wildcard conftest.py packages/*/src tests benchmarks examples)
MYPY := $(RUN) -m mypy --no-error-summary
SIM := $(wildcard crates/l0-sim/Cargo.toml)
NIGHTLY := cargo +nightly
CARGO_TEST := cargo test --quiet --workspace --exclude l0-python --profile dev-opt
# What a chatty tool has to say is of interest when it fails.
SILENT = >$(CURDIR)/$(VENV)/log 2>&1 || { cat $(CURDIR)/$(VENV)/log >&2; exit 1; }
FUZZ_SECONDS ?= 60

.PHONY: help
help: ## What there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: build ## Run the demonstration
	@$(BIN)/l0 demo $(ARGS)

.PHONY: test
test: build rust ## Run the tests of both languages; ends with pytest's own summary
	@$(RUN) -m pytest $(ARGS)

.PHONY: rust
rust: ## Run the Rust tests alone (no Python needed), with the same random cases each time
	@PROPTEST_RNG_SEED=1 $(CARGO_TEST)

.PHONY: matrix
matrix: build ## Long sweeps: simulation, wheels, soak, every combination
ifneq ($(SIM),)
	@cargo run --quiet -p l0-sim --profile dev-opt -- $(or $(SEEDS),--seeds 100000)
	@cargo run --quiet -p l0-sim --profile dev-opt -- --paper $(or $(SEEDS),--seeds 10000)
	@cargo run --quiet -p l0-sim --profile dev-opt -- --breaks
endif
	@PROPTEST_CASES=2000 $(CARGO_TEST)
	@$(RUN) -m pytest -m matrix -n auto --hypothesis-profile matrix $(ARGS)

.PHONY: lint
lint: build ## Formatting, clippy, ruff, mypy --strict, stubs
	@cargo fmt --all --check
	@cargo clippy --quiet --workspace --all-targets -- -D warnings
	@$(RUN) -m ruff check --quiet
	@$(RUN) -m ruff format --quiet --check
	@$(MYPY) $(CHECKED)
	@for tests in $(wildcard packages/*/tests); do $(MYPY) $$tests; done
	@$(RUN) -m mypy.stubtest l0_core._native --mypy-config-file pyproject.toml

.PHONY: format
format: $(VENV)/installed ## Format both languages and apply safe fixes
	@cargo fmt --all
	@$(RUN) -m ruff format --quiet
	@$(RUN) -m ruff check --quiet --fix

.PHONY: bench
bench: $(BENCH)/installed $(PEERS)/installed ## Measure release builds, side by side; prints one table
	@$(BENCH)/bin/python benchmarks/run.py $(ARGS)

.PHONY: sim
sim: ## Run the simulator over 10,000 seeds
	@test -n '$(SIM)' || { echo 'make sim: there is no simulator in this tree yet' >&2; exit 2; }
	@cargo run --quiet -p l0-sim --profile dev-opt -- $(ARGS)

.PHONY: crash
crash: build ## Kill a recording process COUNT times (1000) per durability
	@$(RUN) tests/crash.py --count $(or $(COUNT),1000) $(ARGS)

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZ_SECONDS (60); needs a nightly toolchain
	@test -e fuzz/Cargo.toml || { echo 'make fuzz: there are no fuzz targets in this tree yet' >&2; exit 2; }
	@$(NIGHTLY) --version >/dev/null 2>&1 || { echo 'make fuzz: needs a nightly toolchain:' \
		'rustup toolchain install nightly --profile minimal' >&2; exit 2; }
	@test -x $(FUZZ)/bin/cargo-fuzz || cargo install --locked --quiet --root $(FUZZ) cargo-fuzz
	@export PATH='$(CURDIR)/$(FUZZ)/bin':"$$PATH"; for target in $$($(NIGHTLY) fuzz list); do \
		$(NIGHTLY) fuzz run $$target -- -max_total_time=$(FUZZ_SECONDS); done

.PHONY: docs
docs: build ## Build the documentation into site/
	@test -e mkdocs.yml || { echo 'make docs: there is no documentation site in this tree yet' >&2; exit 2; }
	@# What it keeps is removed by hand: with --clean it empties .cache, where the environments of `make bench` are, too.
	@rm -rf site .cache/[0-9]* .cache/objects.inv .cache/mkdocstrings.json
	@$(RUN) -m zensical build --strict

.PHONY: upgrade
upgrade: $(VENV)/tools ## Resolve the development dependencies again and rewrite constraints.txt
	@$(BIN)/uv pip compile --quiet --upgrade --python-version 3.11 --no-header --no-annotate --group dev --output-file constraints.txt
	@echo 'constraints.txt is new: run make lint test'

.PHONY: clean
clean: ## Remove everything that was built
	@rm -rf $(VENV) .cache target site $(NATIVE)

.PHONY: build
build: $(NATIVE) ## The environment, the packages, the native module

# The virtual environment and uv, which installs an order of magnitude faster than pip.
$(VENV)/tools: constraints.txt
	@test -n '$(PYTHON)' && '$(PYTHON)' -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'make: needs Python 3.11 or newer with venv; say which with PYTHON=' >&2; exit 2; }
	@test -x $(RUN) || '$(PYTHON)' -m venv $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check $$(grep '^uv==' constraints.txt)
	@touch $@

# pip is the way back for networks that only its own configuration knows (mirrors, certificates).
$(VENV)/dependencies: constraints.txt $(VENV)/tools
	@$(BIN)/uv pip install --quiet -r constraints.txt \
		|| $(RUN) -m pip install --quiet --disable-pip-version-check -r constraints.txt
	@touch $@

$(VENV)/installed: $(wildcard packages/*/pyproject.toml) crates/l0-python/Cargo.toml $(VENV)/dependencies
	@PATH='$(CURDIR)/$(BIN)':"$$PATH" $(RUN) -m pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation $(foreach package,$(wildcard packages/*),-e $(package))
	@touch $@

# Dated when its build began, so that a source saved meanwhile counts as newer.
$(NATIVE): $(NATIVE_SOURCES) $(VENV)/installed
	@touch $(VENV)/began
	@cd packages/l0-core && $(CURDIR)/$(BIN)/maturin develop --skip-install --profile dev-opt $(SILENT)
	@touch -r $(VENV)/began $@

# Measurements have an environment of their own: release builds, installed as users install them.
$(BENCH)/installed: $(NATIVE_SOURCES) $(PYTHON_SOURCES) $(wildcard benchmarks/requirements.txt) $(VENV)/installed
	@rm -rf .cache/wheels
	@cd packages/l0-core && $(CURDIR)/$(BIN)/maturin build --release --out $(CURDIR)/.cache/wheels $(SILENT)
	@for package in packages/l0-langchain packages/l0-llamaindex; do \
		$(RUN) -m build --no-isolation --wheel --outdir .cache/wheels $$package $(SILENT); done
	@test -x $(BENCH)/bin/python || $(BIN)/uv venv --quiet --python $(RUN) $(BENCH)
	@$(BIN)/uv pip install --quiet --python $(BENCH)/bin/python -c constraints.txt \
		$(patsubst %,--reinstall-package %,$(notdir $(wildcard packages/*))) \
		$(patsubst %,-r %,$(wildcard benchmarks/requirements.txt)) .cache/wheels/*.whl
	@touch $@

# What L0 is measured beside, where it cannot share an environment; with l0-core, whose provider fails for all alike.
$(PEERS)/installed: benchmarks/peers.txt $(BENCH)/installed
	@test -x $(PEERS)/bin/python || $(BIN)/uv venv --quiet --python $(RUN) $(PEERS)
	@$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --reinstall-package l0-core -r benchmarks/peers.txt \
		"$$(ls .cache/wheels/l0_core-*.whl)[testing]"
	@touch $@
