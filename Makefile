# Sesight's few commands. `make` alone lists them.

SHELL := /bin/bash
BIN   := .venv/bin
READY := .venv/ready
DOCS  := $(wildcard README.md docs/*.md docs/*/*.md)
COG   := $(BIN)/cog -U -I scripts --verbosity=1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-quick check bench blast fuzz lock format docs clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with every dependency, its hash checked; instant the second time.

demo: $(READY) ## Show it at work on simulated traffic, on this machine alone.
	$(BIN)/sesight demo

test: $(READY) ## Run all tests; those of DynamoDB need Java 17 and Maven.
	@scripts/run-tests

test-quick: $(READY) ## Run the tests that need neither Java nor processes of their own; at most 2 minutes.
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -n auto -q -m "not dynamodb and not slow"

check: $(READY) ## Lint, formatting, types, import direction and the freshness of the docs.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(COG) --check --diff --check-fail-msg='The docs are stale: make docs' $(DOCS)

bench: $(READY) ## Measure throughput and sizes against their budgets.
	scripts/fetch-dynamodb-local
	$(BIN)/python -m bench

blast: $(READY) ## Send a blast of SESIGHT_BLAST_MESSAGES (100,000 unless you say) through two processors.
	scripts/fetch-dynamodb-local
	SESIGHT_BLAST_MESSAGES=$${SESIGHT_BLAST_MESSAGES:-100000} $(BIN)/python -m pytest -n 0 tests/test_blast.py

fuzz: $(READY) ## Throw bytes at intake for SESIGHT_FUZZ_SECONDS (600 unless you say).
	SESIGHT_FUZZ_SECONDS=$${SESIGHT_FUZZ_SECONDS:-600} $(BIN)/python -m pytest -n auto tests/fuzz

lock: .venv/bin/python ## Pin the newest releases allowed by pyproject.toml, with hashes.
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --output-file requirements/runtime.txt pyproject.toml
	$(COMPILE) --output-file requirements/dev.txt --group dev --constraint requirements/runtime.txt pyproject.toml

COMPILE = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

format: $(READY) ## Sort imports, apply safe fixes and lay the code out.
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

docs: $(READY) ## Write the generated parts of the docs again.
	$(COG) -r $(DOCS)

clean: ## Remove .venv and every cache; your data stays.
	rm -rf .venv .dynamodb-local dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .schemathesis
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/bin/python:
	@scripts/make-venv

$(READY): requirements/dev.txt pyproject.toml | .venv/bin/python
	@scripts/install-packages
	@touch $@
