# Headrace: two commands for everybody, a few more for those who change it.
#   make run    live feeds into an embedded Postgres (Ctrl-C drains and stops)
#   make test   the whole suite
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-virtualenv

.PHONY: run test check lint types layers bench lock clean

run: $(VENV)/run.stamp
	@$(BIN)/headrace demo

test: $(VENV)/dev.stamp
	@$(BIN)/python -m pytest -n 2 --dist worksteal

check: lint types layers test

lint: $(VENV)/dev.stamp
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/dev.stamp
	@$(BIN)/mypy

layers: $(VENV)/dev.stamp
	@$(BIN)/lint-imports

# Minutes; SIZE= takes the full sizes.
bench: SIZE ?= --quick
bench: $(VENV)/dev.stamp
	@$(BIN)/python -m benchmarks.everything $(SIZE)

# What is installed is pinned and hashed; the project itself is installed from this folder without build isolation.
$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing what Headrace needs into $(VENV)"
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/run.stamp
	@echo "installing what the tests need into $(VENV)"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

# Needs uv. No index addresses are written.
lock:
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml -o requirements/base.txt
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra embedded requirements/build.in -c requirements/base.txt -o requirements/run.txt
	uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra dev -c requirements/run.txt -o requirements/dev.txt

clean:
	rm -rf $(VENV)
