# What a person types.  `make` alone lists it.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8080
MINUTES ?= 30

# pytest keeps what it makes of the tests; without that each of its workers makes it again
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install serve test e2e check bench soak fuzz drift clean

help:  ## list the commands
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(VENV)/.installed  ## make .venv with everything

serve: install  ## start the server with the demo backend on (HOST, PORT)
	$(BIN)/clinvk serve --demo --host $(HOST) --port $(PORT)

test: install  ## all tests that need nothing else
	$(BIN)/python -m pytest -n 6 --dist worksteal -m 'not e2e' --ignore tests/e2e tests

e2e: install  ## the real CLIs against the fake model server, and other real programs
	$(MAKE) -C tests/e2e install
	$(BIN)/python -m pytest -n 2 --dist worksteal -m e2e tests/e2e tests/services/test_crash.py

check: install  ## formatting, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py

bench: install  ## the table of figures, in ten minutes; it is kept in bench/results/
# where npm gives no CLIs the table says so, and has the rest
	-$(MAKE) -C tests/e2e clis
	$(BIN)/python -m bench

soak: install  ## mixed load for MINUTES, and what it leaves
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

fuzz: install  ## requests made up from the API document, for MINUTES, every answer checked
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)

drift: install  ## may one upgrade? the newest CLIs from npm against what was recorded of the pinned ones
	$(BIN)/python -m tests.drift

clean:  ## remove what the other commands made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info tests/e2e/node_modules tests/e2e/litellm/.venv tests/drift/.build
