# Every target sets up .venv by itself; only make and Python 3.11 or newer must be there.
PYTHON ?= python3
PYTEST_ARGS ?=

# A load is seven processes: even where Python is told to write no bytecode, they shall not compile all modules each.
export PYTHONDONTWRITEBYTECODE :=

BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test live check bench fmt lock clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    generate a honeypot log, load it, show what it tells"
	@echo "make test    run all tests but the benchmark (more options: PYTEST_ARGS='-k word')"
	@echo "make live    run the tests against a real PDS, which need Node 20 and npm"
	@echo "make check   lint, formatting, types, import layers, links of the documentation"
	@echo "make bench   measure the throughput"
	@echo "make fmt     format the code"
	@echo "make lock    write requirements.lock anew from pyproject.toml"
	@echo "make clean   remove .venv, caches and build products"

$(READY): requirements.lock pyproject.toml tools/bootstrap.sh
	@tools/bootstrap.sh "$(PYTHON)"
	@touch $@

demo: $(READY)
	@$(BIN)/tally demo

test: $(READY)
	@$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder tests/faults tests/integration tests/property tests/unit $(PYTEST_ARGS)

live: $(READY)
	@$(BIN)/python -m pytest -q --timeout 1200 tests/live $(PYTEST_ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_links.py .

bench: $(READY)
	@$(BIN)/python -m tests.bench

fmt: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
