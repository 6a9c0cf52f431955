# make demo: the comparison of recipes/dice.yaml, from nothing. make test: the fast tests. make docs: the site, into site/. All of them set
# up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: demo test test-slow lint docs setup clean

demo: $(READY)
	$(BIN)/raterhf compare recipes/dice.yaml

# A process for each of two cores, one thread each: on more threads small models wait more than they work.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

# Also the types of the public API and of the rooms that all else builds on (pyproject.toml says which).
lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Pages of docs/reference are written from the code (docs/reference.py) and committed; a test says whether they are current.
docs: $(DOCS_READY)
	$(BIN)/mkdocs build --strict

setup: $(READY)

# torch goes first and alone, so that the build chosen for this machine is the one that all the rest is resolved against.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf build dist site .pytest_cache .ruff_cache
	find raterhf tests -name __pycache__ -prune -exec rm -rf {} +
