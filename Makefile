# make demo · make test · make bench · make torture; each sets up what it needs.
PYTHON ?= python3
LOCKED := --universal --generate-hashes --no-header --no-annotate --no-config --python-version 3.11 pyproject.toml
VENV := .venv
BIN := $(VENV)/bin
export PYTHONPATH :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint docs bench bench-peers torture scale lock clean

help:  ## say what there is to make
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{printf "%-20s%s\n", $$1, $$2}'

setup: $(VENV)/installed  ## make .venv with everything pinned in requirements.lock, and .venv/bin/kobra

$(VENV)/installed: requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "kobra-visits needs Python 3.11 or newer, and there is no $(PYTHON):" \
	  "install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "kobra-visits needs Python 3.11 or newer, and $(PYTHON) is older ($$("$(PYTHON)" --version 2>&1)):" \
	  "name a newer one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -q receiver pipelines notebooks
	touch $@

demo: setup  ## see it all work on invented visits
	$(BIN)/kobra demo

test: lint  ## lint, types and every test but the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-slow: setup  ## the slow tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m slow

lint: setup  ## style and types
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check
	$(BIN)/python -m mypy
	$(BIN)/lint-imports --no-cache

docs: setup  ## write dbt's properties, docs/data-dictionary.md and docs/openapi.yaml from the code
	$(BIN)/python -m pipelines.build.properties
	$(BIN)/python -m pipelines.publish.dictionary
	$(BIN)/python -m receiver.openapi docs/openapi.yaml

bench: setup  ## measure
	$(BIN)/python -m benchmarks

bench-peers: .venv-peers/installed  ## make .venv-peers with what the receiver is measured against

.venv-peers/installed: benchmarks/receiver/requirements-peers.txt | setup
	"$(PYTHON)" -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

torture: setup  ## prove again and again what may never go wrong, as root also power loss; writes docs/torture.md
	$(BIN)/python -m tests.torture

scale: $(VENV)/installed-spark  ## prove what many machines share, on real S3, PostgreSQL and Spark, with kills of each
	$(BIN)/python -m pytest tests/scale -n 2 --dist loadfile -m "slow or not slow"

$(VENV)/installed-spark: requirements-spark.lock $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-spark.lock
	touch $@

lock:  ## pin again what pyproject.toml asks for: hashes, no addresses
	uvx uv pip compile $(LOCKED) --extra scale --extra dev --upgrade -o requirements.lock
	uvx uv pip compile $(LOCKED) --extra spark -c requirements.lock -o requirements-spark.lock

clean:  ## remove what was made here, except collected visits (kobra-data)
	rm -rf .venv .venv-peers build kobra-demo *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find receiver pipelines notebooks tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
