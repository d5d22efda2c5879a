# Everything runs in .venv; any command here makes it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-output

.PHONY: install demo test bench check format clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	touch $@

demo: install
	$(BIN)/differnet demo --out $(DEMO_OUT)

test: install
	$(BIN)/python -m pytest

# The data are not ours to give: make bench MTD=folder SPLIT=file (docs/results/speed.md says which).
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/speed.py "$(MTD)" "$(SPLIT)" $(BENCH_OPTIONS)

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO_OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
