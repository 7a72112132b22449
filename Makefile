PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CHAPTER ?= 01_ou
PRESET ?= default
OUT ?= runs

.PHONY: help book test site pdf lint rerun refresh sweep scan data bench checks mutants clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/.installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q -r requirements.txt && $(BIN)/pip install -q --no-deps -e . && touch $@

# Snakemake has an environment of its own: it wants other versions of some packages.
$(VENV)/sweep/.installed: workflow/requirements.txt $(VENV)/.installed
	$(PYTHON) -m venv $(VENV)/sweep && $(VENV)/sweep/bin/pip install -q -r workflow/requirements.txt && touch $@

book: $(VENV)/.installed ## install, execute what changed, render to _build/html
	$(BIN)/python -m lib.book execute && $(BIN)/jupyter-book build . && echo "Open $(CURDIR)/_build/html/index.html"

test: lint site $(VENV)/sweep/.installed ## lint, strict build, unit tests, every page in Chromium, stored outputs against a fresh execution
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 tests
	rm -rf _build/nbval && BOOK_RESULTS=$(CURDIR)/_build/nbval OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --nbval-lax --nbval-current-env --nbval-cell-timeout 1800 $$(grep -L '"execution_mode": "off"' book/*.ipynb book/appendix/*.ipynb)
	$(BIN)/python -m lib.book compare _build/nbval

site: $(VENV)/.installed ## render stored outputs to _build/strict; a warning is an error
	mkdir -p _build && sed 's/execute_notebooks: cache/execute_notebooks: "off"/' _config.yml > _build/stored.yml && $(BIN)/jupyter-book build . --config _build/stored.yml --path-output _build/strict -W -n --keep-going --all

pdf: $(VENV)/.installed ## stored outputs as one PDF, _build/book.pdf; needs Chromium
	mkdir -p _build && sed 's/execute_notebooks: cache/execute_notebooks: "off"/' _config.yml > _build/stored.yml && $(BIN)/jupyter-book build . --builder singlehtml --config _build/stored.yml --path-output _build/print
	$(BIN)/python -m lib.book pdf _build/print/_build/singlehtml --out _build/book.pdf

lint: $(VENV)/.installed ## ruff
	$(BIN)/ruff check && $(BIN)/ruff format --check

rerun: $(VENV)/.installed ## one chapter: CHAPTER=02_gp PRESET=paper OUT=runs
	$(BIN)/python -m lib.book rerun $(CHAPTER) --preset $(PRESET) --out $(OUT)

refresh: $(VENV)/.installed ## authors: store outputs and default results in the book
	$(BIN)/python -m lib.book refresh

sweep: $(VENV)/sweep/.installed ## the networks of chapter 10 side by side: PRESET=paper
	$(VENV)/sweep/bin/snakemake -c $$(nproc) --config preset=$(PRESET) python=$(BIN)/python

scan: $(VENV)/sweep/.installed ## the points of appendix A side by side: PRESET=paper
	$(VENV)/sweep/bin/snakemake -s workflow/scan.smk -c $$(nproc) --config preset=$(PRESET) python=$(BIN)/python

data: $(VENV)/.installed ## download the data sets that have a public, hash-checked home
	$(BIN)/python -c 'from lib.datasets import fetch; [print(fetch(name)) for name in ("bsds500", "cifar10", "connectome", "ladret2024")]'

bench: $(VENV)/.installed ## speed against named peers, in one run
	$(BIN)/python tests/bench.py

checks: $(VENV)/sweep/.installed ## authors: measure anew what appendix H shows (an hour; 8 GB of disk)
	rm -rf .coverage* _build/checks && mkdir -p _build/checks
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -n 2 tests --record _build/checks/tests.json
	$(BIN)/coverage combine -q && $(BIN)/python tests/covered.py _build/checks/coverage.json
	KILLS=20 $(BIN)/python -m pytest tests/test_faults.py tests/test_sweep.py -k killed --record _build/checks/faults.json
	$(BIN)/python tests/scale.py _build/checks/scale.json
	$(BIN)/python tests/processor.py _build/checks/processor.json
	cp _build/checks/*.json book/checks/

mutants: $(VENV)/.installed ## hours: do the tests notice bugs? SAMPLE=150 for as many mutants of each module
	$(BIN)/pip install -q -e '.[mutation]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python tests/mutants.py $(if $(SAMPLE),--sample $(SAMPLE))

clean: ## remove what was built
	rm -rf _build mutants
