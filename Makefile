# Everything runs in .venv; any command here makes it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-output

.PHONY: architecture reference docs package package-fast install browser demo serve-demo test test-long bench check lint audit fuzz kill format clean
SECONDS ?= 600

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[demo]' --group dev
	touch $@

demo: install
	$(BIN)/differnet demo --out $(DEMO_OUT)

# From a fresh clone to the operator's page: fits a small model, exports it, serves it, and prints the URL.
serve-demo: $(VENV)/.serve
	$(BIN)/python scripts/serve_demo.py $(DEMO_OUT)/service

$(VENV)/.serve: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[demo,serve]'
	touch $@

# Two at a time, each computing in one thread: more would wait for each other.
test: install browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not long" --durations=30

# What takes minutes and seldom breaks: clusters, twenty kills in a row, each runtime times each option.
test-long: install browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long --durations=30

# The report is tested in a browser: the system's Chromium, else Debian's, else the one that Playwright downloads.
# Where none can be had, those tests say so and are skipped, or fail where DIFFERNET_NEEDS_BROWSER is set.
browser: install
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -q && \
	  apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; } || \
	$(BIN)/python -m playwright install chromium || echo "no browser: the tests of the report's page will be skipped"

# The data are not ours to give: make bench MTD=folder SPLIT=file (docs/results/speed.md says which).
bench: $(VENV)/.bench
	$(BIN)/python benchmarks/speed.py "$(MTD)" "$(SPLIT)" $(BENCH_OPTIONS)

$(VENV)/.bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group bench
	touch $@

check: lint audit

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/architecture.py --check
	$(BIN)/python scripts/reference.py --check

# Known holes in what is installed; without a network it says that nothing was looked up, and `make check` goes on.
audit: install
	@if $(BIN)/python scripts/can_reach_pypi.py; then $(BIN)/pip-audit --local --skip-editable --progress-spinner off; \
	else echo "pip-audit: pypi.org cannot be reached, so no known holes were looked up"; fi

# Ten minutes on each reader of untrusted files, from the inputs kept in tests/fuzz.
fuzz: $(VENV)/.fuzz
	$(BIN)/python scripts/fuzz.py images fuzz-output/images -max_total_time=$(SECONDS)
	$(BIN)/python scripts/fuzz.py models fuzz-output/models -max_total_time=$(SECONDS)

$(VENV)/.fuzz: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group fuzz
	touch $@

# Kill score and fit at random moments, and count what was lost.
kill: install
	$(BIN)/python scripts/kill_runs.py score --kills 200
	$(BIN)/python scripts/kill_runs.py fit --kills 30

# The picture of docs/architecture.md, from the imports.
architecture: install
	$(BIN)/python scripts/architecture.py

# The pages of settings and options, from the code.
reference: install
	$(BIN)/python scripts/reference.py

# The manual, into docs/_build/html; a warning or a link that leads nowhere is an error. Nothing is fetched but Sphinx.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@$(BIN)/python scripts/code_blocks.py
	@echo "Open docs/_build/html/index.html"

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group docs
	touch $@

# What is released: sdist and wheel into dist, checked, installed and run in a clean environment of each Python that
# is here; package-fast leaves the environments out.
package: $(VENV)/.release
	$(BIN)/python scripts/package_check.py $(PACKAGE_OPTIONS)

package-fast: $(VENV)/.release
	$(BIN)/python scripts/package_check.py --fast

$(VENV)/.release: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --group release
	touch $@

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO_OUT) fuzz-output docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
