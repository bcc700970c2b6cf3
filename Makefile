# make demo: from footage to shards, a trained cascade and a verdict.  make test: the tests.  Both set everything up first.
PYTHON ?= python3.11
ON ?= here
OUT ?= demo-output
VENV := .venv
BIN := $(VENV)/bin
export HF_HUB_OFFLINE ?= 1

.PHONY: help install demo test check format docs clean

help:
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 18

install: $(VENV)/installed ## set up .venv with pinned versions (can be repeated)

$(VENV)/installed: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "clipmill needs Python 3.11: no '$(PYTHON)' here. Install it, or name another: make PYTHON=python3 …"; exit 2; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "This Python cannot make a virtual environment. On Debian: apt-get install python3.11-venv"; exit 2; }
	@echo "Setting up $(VENV) (about 8 GB with PyTorch; minutes on a fast line) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv || echo "uv is not to be had; going on with pip"
	@if test -x $(BIN)/uv && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock; then :; \
	 else $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --no-deps -r requirements.lock; fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: install ## the main job on real footage: curate, train, sample, ablate (ON=ray runs it on Ray)
	@$(BIN)/python -m pipelines.demo --out $(OUT) --on $(ON)

test: install ## the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile

check: install ## lint, format, types and import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: install ## rewrite the code in the house style
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: install ## generate docs/ from the schemas, recipes and commands
	@$(BIN)/python -m pipelines.docs

clean: ## remove what make demo made
	rm -rf $(OUT)
