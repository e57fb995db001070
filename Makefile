# Two commands are all that a newcomer needs: `make demo` and `make test`. Both make .venv when it is missing.
.PHONY: setup demo docs test test-all test-trackers test-web lint types format completion clean
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# pytest's workers have a core each; more threads would only wait for one another
export OMP_NUM_THREADS ?= 1
PYTEST := $(BIN)/pytest -n 2 --dist worksteal

help:
	@grep -E '^# ' Makefile | head -1; echo "verbs: setup demo docs test test-all test-trackers test-web lint types format completion clean"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		test -d .venv || uv venv --quiet --python $(PYTHON) .venv; \
		uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev]'; \
	else \
		test -d .venv || $(PYTHON) -m venv .venv; \
		$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'; \
	fi
	@touch $(READY)

demo: setup
	env -u OMP_NUM_THREADS $(BIN)/pcae demo --out demo

# the site, in build/site: a warning fails; the tutorials run, which takes some minutes
docs: setup
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -b html docs build/site
	@echo "build/site/index.html"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# the second time, what a user's type checker says of code that uses the installed package
types: setup
	$(BIN)/basedpyright
	$(BIN)/basedpyright --project tests/public_api.json

test: lint types
	$(PYTEST) -m "not slow"

# what trains runs twice: the second time on plain instructions, whose rounding is another one
test-all: lint types
	$(PYTEST) -m "slow or not slow" --ignore tests/web
	ATEN_CPU_CAPABILITY=default $(PYTEST) -m "trains and not slow"
	$(MAKE) test-trackers test-web

# the clients of W&B and MLflow, with all that they bring, in an environment of their own
TRACKERS := .venv-trackers
test-trackers: $(TRACKERS)/.ready
	$(TRACKERS)/bin/python -m pytest tests/trackers

$(TRACKERS)/.ready: pyproject.toml constraints.txt
	@if command -v uv >/dev/null 2>&1; then \
		test -d $(TRACKERS) || uv venv --quiet --python $(PYTHON) $(TRACKERS); \
		uv pip install --quiet --python $(TRACKERS)/bin/python -c constraints.txt -e '.[mlflow,wandb]' beartype pytest; \
	else \
		test -d $(TRACKERS) || $(PYTHON) -m venv $(TRACKERS); \
		$(TRACKERS)/bin/python -m pip install --quiet -c constraints.txt -e '.[mlflow,wandb]' beartype pytest; \
	fi
	@touch $(TRACKERS)/.ready

# the page of `pcae export --to web` in a browser, with what computes there: a package of npm's, where there is npm
WEB := .onnxruntime-web
WEB_VERSION = $(shell sed -n 's/^VERSION = "\(.*\)"/\1/p' src/pcae/weights/export/onnxruntime_web.py)
test-web: setup
	@if command -v npm >/dev/null 2>&1; then \
		test -f $(WEB)/onnxruntime-web-$(WEB_VERSION).tgz || \
			( mkdir -p $(WEB) && cd $(WEB) && npm pack --silent onnxruntime-web@$(WEB_VERSION) ) && \
		$(BIN)/pytest tests/web; \
	else \
		echo "test-web: left out, there is no npm"; \
	fi

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python docs/draw_architecture.py

# what the shells complete, and the types that editors read, from the settings
completion: setup
	$(BIN)/python -m tests.completion
	$(BIN)/python -m tests.stubs

clean:
	rm -rf .venv .venv-trackers .onnxruntime-web demo build dist docs/reference/verbs docs/reference/names.md .pytest_cache .ruff_cache .hypothesis
