# From a fresh checkout, with Python 3.11 or newer, its venv module and make: `make demo`, `make test`.

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.installed
DOCS    := $(VENV)/.installed-docs
HALF    := $(VENV)/.half-made
PEERS   := .venv-peers
OLDEST  := .venv-oldest
# Triton beside .venv's packages and not among them: PyTorch's builds for graphics cards bring one of their own, of
# just one version (so constraints.txt cannot pin it), whose interpreter stumbles over new NumPy. `make test` looks here.
TRITON  := $(VENV)/triton
RELEASE := 3.9.0
SOURCES := $(shell find pnpfusion solvers visualize -name '*.py' 2>/dev/null)

# To choose otherwise: make test PYTHON=python3.12 WORKERS=4 ARGS="-k poisson"
PYTHON  ?= python3 python3.14 python3.13 python3.12 python3.11
WORKERS ?= auto
ARGS    ?=
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help demo test docs verify results bench bench-check peers oldest pythons triton lint types format wheel env clean
.DELETE_ON_ERROR:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

demo: demo/summary.json  ## simulate a cell; pictures, data and numbers go to demo/
	@echo "The demo is in demo/; its pictures:" $$(cd demo && ls | grep -E '\.(png|gif|svg)$$')

demo/summary.json: $(SOURCES) $(STAMP)
	$(BIN)/pnpfusion simulate --out demo --overwrite

# A file of tests is one worker's: what its module makes, and the kernels that it compiles, are made once.
test: $(STAMP)  ## run the tests; some of them: make test ARGS="-k poisson"
	PYTHONPATH="$$PWD/$(TRITON)$${PYTHONPATH:+:$$PYTHONPATH}" OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

docs: $(DOCS)  ## build the documentation site; without running its scripts: make docs ARGS="-D plot_gallery=0"
	@rm -rf docs/_build/html  # and what was read: -W says nothing of pages that are not read again
	$(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -q $(ARGS) docs docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser."

$(DOCS): $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[docs]"
	@touch $@

verify: $(STAMP)  ## compare with known answers; writes docs/verification.md
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.verification

results: $(STAMP)  ## measure when which fusion helps; writes docs/results.md, keeps what is done in build/results
	$(ONE_THREAD) $(BIN)/python -m docs.results $(ARGS)

bench: $(STAMP)  ## measure time and memory, beside other programs; a quick part, into build/bench: make bench ARGS="--quick --only p1"
	$(ONE_THREAD) $(BIN)/python -m benchmarks.suite $(ARGS)

bench-check: $(STAMP)  ## fail where pnpfusion has become slower; accept it: make bench-check ARGS=--update
	$(ONE_THREAD) $(BIN)/python -m benchmarks.regression $(ARGS)

peers: $(PEERS)/.installed  ## install the other programs that `make bench` can measure, into .venv-peers

$(PEERS)/.installed: benchmarks/peers/requirements.txt
	$(firstword $(shell command -v $(PYTHON))) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check -r benchmarks/peers/requirements.txt
	@touch $@

triton: $(TRITON)/.installed-$(RELEASE)  ## install Triton, by which `make test` then runs the kernels for graphics cards

# There are builds for Linux alone; elsewhere nothing is installed, and these tests are skipped.
$(TRITON)/.installed-$(RELEASE): | $(STAMP)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --upgrade --target $(TRITON) \
	  "triton==$(RELEASE); platform_system == 'Linux'"
	@mkdir -p $(TRITON)
	@touch $@

oldest: $(OLDEST)/.installed  ## run the tests with the oldest packages that pyproject.toml admits, but for PyTorch's
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest -W ignore::DeprecationWarning -n $(WORKERS) --dist loadfile $(ARGS)

$(OLDEST)/.installed: pyproject.toml constraints.txt tests/project/bounds.py | $(STAMP)
	$(BIN)/python -m venv --clear $(OLDEST)
	$(BIN)/python -m tests.project.bounds oldest >$(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -r $(OLDEST)/oldest.txt torch
	$(OLDEST)/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

pythons: $(STAMP)  ## can all packages be installed under each Python that pyproject.toml names? asks, installs nothing
	$(BIN)/python -m tests.project.bounds newest 3.11 3.12 3.13

lint: $(STAMP)  ## check style and formatting
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(STAMP)  ## mend style and formatting, where that can be done
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

types: $(STAMP)  ## check types
	$(BIN)/python -m mypy

wheel: $(STAMP)  ## build the source archive and, from it, the wheel into dist/
	$(BIN)/python -m build --no-isolation

env: $(STAMP)  ## make .venv, or bring it up to date (the other commands do so themselves)

clean:  ## remove what was made, but for .venv
	rm -rf demo build dist *.egg-info docs/_build docs/gallery docs/lesson .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find pnpfusion solvers visualize tests -name __pycache__ -prune -exec rm -rf {} +

# The stamp names the folder it was made for. Where the checkout was moved, or .venv's Python is gone, it is void.
$(shell [ -x $(BIN)/python ] && [ "$$(cat $(STAMP) 2>/dev/null)" = "$(CURDIR)" ] || rm -f $(STAMP))

# An environment whose making was interrupted is made again from the start; any other is brought up to date.
$(STAMP): pyproject.toml constraints.txt
	@if [ -e $(HALF) ] || ! $(BIN)/python -m pip --version >/dev/null 2>&1; then $(make-venv); fi
	@touch $(HALF)
	@echo "Installing into $(VENV); PyTorch is large, the first time takes minutes."
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@rm $(HALF)
	@echo "$(CURDIR)" >$@

# Makes .venv with the first of $(PYTHON) that will do, or says in one line why none of them does.
define make-venv
found=; for python in $(PYTHON); do \
  version=$$($$python -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue; \
  if ! $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then why="too old"; \
  elif ! $$python -c 'import ensurepip, venv' 2>/dev/null; then why="without venv"; \
  else echo "Making $(VENV) with $$python, Python $$version."; \
    $$python -m venv --clear $(VENV); exit; fi; \
  found="$$found $$python ($$version, $$why)"; \
done; \
echo "Found:$${found:- none of $(PYTHON)}; wanted: Python 3.11 or newer with its venv module; \
install it (Debian 12 or newer: apt install python3-venv) or name yours: make PYTHON=python3.12" >&2; \
exit 1
endef
