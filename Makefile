# Everything from a bare machine with Python 3.11 to 3.13. Windows and no make: see the two lines in README.md.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: app test lint screenshots clean

app: $(VENV)/app
	$(BIN)/streamlit run streamlit_app.py

test: $(VENV)/dev
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

screenshots: $(VENV)/dev
	$(BIN)/python -m tests.browser.screenshots docs/screenshots

$(VENV)/app: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/dev: requirements-dev.txt requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@ $(VENV)/app

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .import_linter_cache
