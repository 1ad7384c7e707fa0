# Every habit is one word. `make demo` and `make test` need only Python >= 3.11, make and a package index.

VENV := .venv
BIN := $(VENV)/bin
# The first Python that is new enough; `make PYTHON=…` names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
# A file's tests share kernels, servers and pages; tests/conftest.py puts the slowest files first.
# Some tests mostly wait: one process more than cores, on small machines.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); echo $$((n < 4 ? n + 1 : n)))
XDIST := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PYTEST := $(BIN)/python -m pytest $(XDIST)
# What `make coverage` runs.
TESTS ?= tests service magics widgets server docs
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# Jupyter refuses to run as root, as people do in containers, unless told so: here it listens on loopback only.
AS_ROOT := $(shell test "$$(id -u)" != 0 || echo --allow-root --ip=127.0.0.1)
NOTE_TO_ROOT := test -z "$(AS_ROOT)" || echo "This runs as root, and listens on this machine only. Give its token to nobody."

# Tests start hundreds of processes: without its bytecode each would compile ipyllm again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo lab outputs pictures serve test thorough coverage lint format bench simulate docs audit clean model

help: ## show this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(VENV)/.all model ## make .venv with everything installed, pull the embedded model

demo: $(VENV)/.demo model ## run the main job on the embedded model and show the result
	$(BIN)/python notebooks/demo.py

lab: $(VENV)/.all model ## open the quickstart in JupyterLab
	@mkdir -p build
	@test -f build/01_quickstart.ipynb || cp notebooks/01_quickstart.ipynb build/
	@$(NOTE_TO_ROOT)
	$(BIN)/jupyter lab $(AS_ROOT) build/01_quickstart.ipynb

outputs: $(VENV)/.all model ## run the notebooks and save their outputs in them; NOTEBOOKS="notebooks/…" for some
	$(BIN)/python .ci/save_outputs.py $(NOTEBOOKS)

pictures: $(VENV)/.all ## draw the README's pictures from the notebooks' saved outputs
	@sh .ci/chromium
	$(BIN)/python .ci/save_pictures.py

serve: $(VENV)/.all model ## start the chat server on loopback and print its address with the token
	@$(NOTE_TO_ROOT)
	$(BIN)/python -m ipyllm_server $(AS_ROOT)

test: $(VENV)/.all model ## run the tests, the notebooks' too
	@sh .ci/chromium
	@sh .ci/frontend
	@sh .ci/postgresql
	$(PYTEST) --nbval-lax -m "not thorough"

thorough: $(VENV)/.all model ## what `make test` leaves out: most of the browser, floods, forks, soaks, damaged files, oldest versions
	@sh .ci/chromium
	$(PYTEST) --nbval-lax -m thorough

coverage: $(VENV)/.all model ## branch coverage of each package by all tests but the browser's; TESTS=tests/service for some
	@sh .ci/postgresql
	@rm -rf build/coverage && mkdir -p build/coverage
	-$(BIN)/python -m coverage run -m pytest $(XDIST) -m "not thorough and not browser" $(TESTS)
	@$(BIN)/python -m coverage combine --quiet
	@$(BIN)/python -m coverage html --quiet --directory build/coverage/html
	@$(BIN)/python -m coverage json --quiet -o build/coverage/report.json
	@$(BIN)/python .ci/coverage_table.py build/coverage/report.json
	@echo "Line by line: build/coverage/html/index.html"

lint: $(VENV)/.all ## ruff, mypy strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=server $(BIN)/lint-imports

format: $(VENV)/.all ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.all model ## measure the speed claims, as ratios in one run
	$(BIN)/python -m benchmarks

simulate: $(VENV)/.all ## how often intervals cover and conclusions err; PAGE=docs/statistics.md writes the tables there
	$(BIN)/python -m benchmarks.simulate $(if $(PAGE),--write $(PAGE))

docs: $(VENV)/.all ## build the documentation as HTML in build/docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

audit: $(VENV)/.all ## look for known vulnerabilities in what is installed
	$(BIN)/pip-audit --skip-editable

clean: ## remove the environment and what was built
	rm -rf $(VENV) build dist

model: | $(VENV)/.demo
	@$(BIN)/python -m ipyllm.embedded pull smollm2-135m

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "ipyllm needs Python 3.11 or newer, with venv (Debian: apt install python3-venv); name one with make PYTHON=…"; exit 1; }
	@echo "Making the environment in $(VENV) with $(PYTHON) …"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "Installing ipyllm …"
	@$(PIP) install --editable ".[local,notebook]"
	@touch $@

$(VENV)/.all: pyproject.toml | $(VENV)/.demo
	@echo "Installing what development and tests need …"
	@$(PIP) install --editable ".[dev]"
	@touch $@
