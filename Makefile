# All set-up on a machine that has only python3 (3.11 or later) and make.
#   make demo           the shipped study, from nothing to a verdict and a report
#   make test           the checks of a change; says at its end what it left out
#   make test-docs      that prose, figures and committed results are what the code says
#   make test-all       both, and the long ones; needs HEADWATER_DATA
#   make docs           the site, into build/site: open build/site/index.html, it needs no network
#   make coverage       which lines the checks run: a table, and build/coverage.json
#   make test-anywhere  make test as other machines would see it: a table, in 45 minutes

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
ROOMS := src tests benchmarks tools
# Two processes, a file of tests in one of them, the longest first (tests/conftest.py); slow tests
# have the machine for themselves.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

# many tests start processes, which read compiled modules where they may be kept
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo docs style types lint checks test test-docs test-all coverage test-anywhere

demo: $(READY)
	$(BIN)/headwater run demo

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "open build/site/index.html"

style: $(READY)
	$(BIN)/ruff check $(ROOMS)
	$(BIN)/ruff format --check $(ROOMS)

types: $(READY)
	$(BIN)/mypy

lint: style types

checks: $(READY)
	$(BIN)/python -m pytest -m "not slow and not docs" $(BESIDE)

# mypy has one core for half a minute, so it runs beside the tests
test: style
	@$(MAKE) --no-print-directory -j2 types checks

test-docs: $(READY)
	$(BIN)/python -m pytest -m docs

test-all: lint
	@test -d "$$HEADWATER_DATA" || { echo "HEADWATER_DATA does not name a folder; make test-all needs the real photos" >&2; exit 2; }
	$(BIN)/python -m pytest -m "not slow" $(BESIDE)
	$(BIN)/python -m pytest -m slow

coverage: $(READY)
	$(BIN)/python -m pytest -m "not slow and not docs" $(BESIDE) --cov=headwater --cov-report=term --cov-report=json:build/coverage.json

test-anywhere: $(READY)
	$(BIN)/python tools/test_anywhere.py

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
