.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test coverage check bench lock clean

help: ## Show this list
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: .venv/ready ## Create .venv with everything pinned (other targets do so on their own)

# Only what is locked gets installed, and only if its hash agrees.
.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d, expected 3.11 or later" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/ready ## Send the sample audio through a real receiver and show what arrived
	@$(BIN)/python docs/examples/demo.py

test: .venv/ready ## Unit and integration tests, with asyncio's debug checks
	PYTHONASYNCIODEBUG=1 $(BIN)/pytest $(ARGS)

coverage: .venv/ready ## The same, with coverage: wire at 100 % of branches, all above 90 %
	$(BIN)/pytest --cov --cov-report=term-missing:skip-covered --cov-fail-under=90
	$(BIN)/coverage report --include='wire/*' --fail-under=100

check: .venv/ready ## Format, lint, types, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready ## Measure against the bare library; QUICK=1 for less; see benchmarks/README.md
	$(BIN)/python benchmarks/bulk.py $(if $(QUICK),--rounds 3 --seconds 20)

lock: .venv/ready ## Pin the newest versions that pyproject.toml allows, with hashes
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	for each in sender receiver; do $(COMPILE) --extra $$each -o requirements/$$each.txt; done
	$(COMPILE) --extra sender --extra receiver --group dev -o requirements/dev.txt

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --upgrade pyproject.toml

clean: ## Remove everything that is made: .venv, caches, coverage
	rm -rf .venv build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
