# Everything from a bare machine with Python 3.11 to 3.13. Windows and no make: see the two lines in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/$(if $(filter Windows_NT,$(OS)),Scripts,bin)
# Test processes at a time. A file's tests stay in one process, with what they share: an app, a browser, a run.
JOBS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# CI installs the very versions that were tested: make check CONSTRAINTS="-c constraints.txt"
CONSTRAINTS ?=

.PHONY: app check test lint test-python keras-versions constraints screenshots film compiled vendor clean

app: $(VENV)/app
	$(BIN)/streamlit run streamlit_app.py

# Before each commit: lint, types, and the tests that need no browser, no training and no Ray.
check: lint
	$(PYTEST) -m "not browser and not training and not ray"

# A browser test has the machine to itself: an app, its workers, a browser and a training are processes enough.
test: $(VENV)/dev
	$(PYTEST) -m "not browser" --durations 15
	$(BIN)/python -m pytest -m browser

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/ty check --python $(VENV)
	$(if $(wildcard $(BIN)/oxlint*),$(BIN)/oxlint --deny-warnings --quiet cifar_model,@echo "oxlint has no package for this machine.")

# All tests on another Python: make test-python PYTHON=python3.13
test-python:
	$(MAKE) VENV=.venv-$(notdir $(PYTHON)) PYTHON=$(PYTHON) test

# The shipped networks, opened by other versions of Keras.
keras-versions: $(VENV)/dev
	$(BIN)/python -m tests.keras_versions $(VERSIONS)

screenshots: $(VENV)/dev
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

# The README's moving picture.
film: $(VENV)/dev
	$(BIN)/python -m tests.browser.film docs/lab.webp

# The exact versions of this environment, beside the ranges in requirements.txt.
constraints: $(VENV)/dev
	$(BIN)/python -m tests.constraints constraints.txt

# The compiled forms of the networks that ship, where a network has changed or `VERSION` in models/compiled.py.
compiled: $(VENV)/dev
	$(BIN)/python -c "from cifar_model.models.compiled import compile_shipped; compile_shipped()"

# Fetches LiteRT.js from the npm registry, exactly as cifar_model/app/browser/live/runtime/origin.json names it.
vendor:
	$(PYTHON) -m cifar_model.app.browser.vendor

$(VENV)/app: requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt $(CONSTRAINTS)
	touch $@

$(VENV)/dev: requirements-dev.txt requirements-formats.txt requirements-ray.txt requirements.txt constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt $(CONSTRAINTS)
	touch $@ $(VENV)/app

clean:
	rm -rf $(VENV) .venv-python* .pytest_cache .ruff_cache .import_linter_cache
