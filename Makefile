# The front door. `make help` lists what there is; every target brings what it needs.
#   make serve ARGS="--port 9000"     make test PYTHON=3.12 PYTEST_ARGS="-k cursor"
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve page test lint format types bench docs build clean node postgres browser monitor

UV := scripts/uv
ARGS ?=
PYTEST_ARGS ?=
# Another interpreter gets an environment of its own, so that nobody's .venv is rebuilt by a test run.
ifdef PYTHON
export UV_PYTHON := $(PYTHON)
export UV_PROJECT_ENVIRONMENT := .venv-$(notdir $(PYTHON))
endif
RUN := $(UV) run --frozen
PAGES := scripts/generate_pages.py scripts/reference.py
PY_FILES := src tests benchmarks examples scripts

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

# Packages are compiled when they are installed, so that no start has to do it (3 s of CPU).
SYNC := $(UV) sync --frozen --inexact --quiet --compile-bytecode

serve: ## build the page where that is possible, and start the server; flags in ARGS
	@$(SYNC) --no-dev
	@$(UV) run --no-sync python scripts/build_page.py --if-possible
	@$(UV) run --no-sync headwater serve $(ARGS)

page: ## build the chat page and the dashboard, unless nothing changed
	@$(RUN) python scripts/build_page.py

test: node postgres browser monitor ## run all tests with coverage; more pytest arguments in PYTEST_ARGS
	@$(SYNC)
	@$(RUN) python scripts/build_page.py --if-possible
	@$(RUN) pytest -n 2 --dist loadgroup --cov --cov-report term $(PYTEST_ARGS)

# A machine without these programs, or without a way to the npm registry, still runs every other test; see
# tests/conftest.py.
node:
	@scripts/tools node
	@if command -v npm >/dev/null && ! cmp -s tests/node/package-lock.json tests/node/node_modules/.installed; then \
	  npm ci --prefix tests/node --no-audit --no-fund --loglevel=error </dev/null \
	  && cp tests/node/package-lock.json tests/node/node_modules/.installed \
	  || echo "npm: the packages of tests/node could not be installed" >&2; fi

postgres:
	@scripts/tools postgres

browser:
	@scripts/tools browser

monitor:
	@scripts/tools monitor

# TypeScript is checked where there is npm or a way to get it, and always under CI; see scripts/npm.py.
NPM := $(RUN) python scripts/npm.py

lint: ## style, import rules, sizes, lock files
	@$(RUN) ruff check $(PY_FILES)
	@$(RUN) ruff format --check $(PY_FILES)
	@$(RUN) lint-imports
	@$(RUN) python scripts/check_sizes.py
	@$(RUN) python scripts/check_tree.py
	@$(UV) lock --check --quiet
	@$(NPM) run --silent lint --workspaces --if-present

format: ## let ruff and prettier mend what they can
	@$(RUN) ruff check --fix $(PY_FILES)
	@$(RUN) ruff format $(PY_FILES)
	@$(NPM) run --silent format --workspaces --if-present

types: ## mypy --strict, and tsc for the page and the client
	@$(RUN) mypy
	@$(NPM) run --silent check --workspaces --if-present

bench: ## measure; prints one table (under three minutes)
	@scripts/tools bench
	@$(RUN) python -m benchmarks $(ARGS)

docs: ## bring generated pages up to date and build the site into site/
	@for script in $(PAGES); do $(RUN) python $$script; done
	@NO_MKDOCS_2_WARNING=1 $(RUN) --group docs mkdocs build --strict

build: ## wheel and source distribution into dist/
	@$(UV) build --quiet

clean: ## remove what the targets above made
	@rm -rf dist build site src/headwater/server/page_files .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
