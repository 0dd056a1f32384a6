# All set-up on a machine that has only python3 (3.11 or later) and make.
#   make demo      the shipped study, from nothing to a verdict and a report
#   make test      all checks, in under 10 minutes
#   make test-all  the longer ones too; needs HEADWATER_DATA

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# Two processes, a file of tests in one of them; slow tests measure times and have the machine for themselves.
BESIDE := -n 2 --dist loadfile

.PHONY: demo test test-all

demo: $(READY)
	$(BIN)/headwater run demo

test: $(READY)
	$(BIN)/ruff check src tests benchmarks tools
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" $(BESIDE)

test-all: $(READY)
	@test -d "$$HEADWATER_DATA" || { echo "HEADWATER_DATA does not name a folder; make test-all needs the real photos" >&2; exit 2; }
	$(BIN)/ruff check src tests benchmarks tools
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow" $(BESIDE)
	$(BIN)/python -m pytest -m slow

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(READY)
