.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
BIN := .venv/bin

COMPOSE := docker compose
# Digests of images, if `make lock-images` has written them; .env comes later, so it wins.
, := ,
ifneq ($(wildcard deploy/images.env),)
export COMPOSE_ENV_FILES := $(if $(wildcard .env),deploy/images.env$(,).env,deploy/images.env)
endif
N ?= 2
RUNS ?= 100000
WORKERS ?= 3 # a third of the time a test waits; a fourth worker costs as much as it gains, on two cores

.PHONY: help setup demo test coverage check docs dashboards bench bench-peers lock clean up down logs ps status scale roll reload e2e faults hostile fuzz sbom audit lock-images lock-ffmpeg

help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/ready ## Create .venv with everything pinned (other targets do so on their own)

# Only what is locked gets installed, and only if its hash agrees.
.venv/ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python %d.%d, expected 3.11 or later" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

up: ## Build and start the whole system in containers; Grafana on 127.0.0.1:3000
	$(COMPOSE) up --build --detach
	$(COMPOSE) ps

down: ## Stop it; recordings and metrics stay in their volumes
	$(COMPOSE) down

logs: ## Follow what the containers say
	$(COMPOSE) logs --follow --tail 50

ps: ## Show the containers and their health
	$(COMPOSE) ps

status: ## Show what the receivers in containers do, live
	$(COMPOSE) exec receiver receiver status receiver

scale: ## Run N receivers: make scale N=4
	$(COMPOSE) up --detach --no-deps --no-recreate --scale receiver=$(N) receiver

roll: ## Build the receiver anew and replace every replica, without losing a stream
	deploy/roll.sh

# Not `docker compose kill -s HUP`: after it, an engine may not start a container that ends again.
reload: ## Have every receiver in a container read its tokens and certificates again
	for each in $$($(COMPOSE) ps --quiet receiver); do docker exec $$each sh -c 'kill -HUP 1' || exit; done

e2e: .venv/ready ## The whole system on a real Docker engine, with the real images
	$(BIN)/pytest -m containers -o timeout=900 -v $(ARGS) tests/containers

faults: .venv/ready ## Kill, pause, cut, fill and spoil everything; FULL=1 for hours of it
	$(BIN)/pytest -m faults -o timeout=$(if $(FULL),0,900) -rs $(ARGS) tests/faults

sbom: ## Write what each image consists of into build/sbom, as CycloneDX; after `docker compose build`
	mkdir -p build/sbom
	for each in sender receiver; do \
	    docker run --rm --interactive --network none --entrypoint python sonoduct-$$each:$${SONODUCT_TAG:-latest} \
	        - sonoduct-$$each <deploy/sbom.py >build/sbom/$$each.cdx.json || exit; \
	done

audit: .venv/audit ## Ask for known vulnerabilities of every locked package; see deploy/audit.toml
	$(BIN)/python deploy/audit.py

.venv/audit: requirements/audit.txt .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.txt
	@touch $@

demo: .venv/ready ## Send the sample audio through a real receiver and show what arrived
	@$(BIN)/python docs/examples/demo.py

test: .venv/ready ## Unit and integration tests, with asyncio's debug checks
	PYTHONASYNCIODEBUG=1 $(BIN)/pytest --numprocesses $(WORKERS) $(ARGS)

coverage: .venv/ready ## The same, with coverage: wire at 100 % of branches, all above 90 %
	$(BIN)/pytest --numprocesses $(WORKERS) --cov --cov-report=term-missing:skip-covered --cov-fail-under=90
	$(BIN)/coverage report --include='sonoduct/wire/*' --fail-under=100

check: .venv/ready ## Format, lint, types, import contracts, plain words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/words.py
	$(BIN)/python deploy/audit.py --list

docs: .venv/ready ## Write the map of modules and the tables of metrics from the code
	$(BIN)/python docs/modules.py
	$(BIN)/python docs/metrics.py

dashboards: .venv/ready ## Write Grafana's dashboards from deploy/grafana/*.py
	$(BIN)/python -m deploy.grafana

bench: .venv/ready ## Measure against the bare library; QUICK=1 for a minute of it; see benchmarks/README.md
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick,--publish) $(ARGS)

bench-peers: .venv/peers ## Measure against other programs; each that is absent gets a line; QUICK=1 writes nothing
	$(BIN)/python -m benchmarks.peers $(if $(QUICK),--quick,--publish) $(ARGS)

.venv/peers: requirements/peers.txt .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

hostile: .venv/fuzz ## Attack a receiver beside honest streams, one line for each; QUICK=1 for minutes
	$(BIN)/python -m tests.hostile $(if $(QUICK),--quick) $(ARGS)
	$(if $(QUICK)$(ARGS),,$(BIN)/python -m tests.hostile --quick --without-guards)

fuzz: .venv/fuzz ## Fuzz every parser of strangers' bytes: make fuzz RUNS=1000000
	$(BIN)/python -m tests.hostile.fuzz all --runs $(RUNS)

# Without a wheel for this Python, inputs are made at random.
.venv/fuzz: requirements/fuzz.txt .venv/ready
	-$(BIN)/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/fuzz.txt
	@touch $@

lock: .venv/ready ## Pin the newest versions that pyproject.toml allows, with hashes
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	for each in sender receiver; do $(COMPILE) pyproject.toml --extra $$each -o requirements/$$each.txt; done
	$(COMPILE) pyproject.toml --extra sender --extra receiver --group dev -o requirements/dev.txt
	$(COMPILE) --group build -o requirements/build.txt
	for each in peers audit fuzz; do $(COMPILE) --group $$each --constraint requirements/dev.txt -o requirements/$$each.txt; done

lock-images: ## Pin the images that compose builds on and starts, by their digests in the registry
	deploy/lock-images.sh

lock-ffmpeg: ## Pin the source of ffmpeg in the version that Debian has now
	docker run --rm --volume "$(CURDIR)/deploy/ffmpeg:/build" $${PYTHON_IMAGE:-python:3.13-slim-trixie} \
	    sh /build/fetch.sh --renew

# --no-strip-extras: pip takes the newest of a package that is needed with an extra and pinned without.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-header --upgrade

clean: ## Remove everything that is made: .venv, caches, coverage
	rm -rf .venv build .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
