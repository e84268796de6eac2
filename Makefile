# Everything runs in .venv, which is made at the first call and again when the dependencies change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# transformers and PEFT live in an environment of their own.
PARITY_VENV := .venv-parity
PARITY_INSTALLED := $(PARITY_VENV)/.installed
PARITY_RUN := runs/parity
# AdapterHub's adapters want an older transformers.
ADAPTERS_VENV := .venv-adapters
ADAPTERS_INSTALLED := $(ADAPTERS_VENV)/.installed

# Two files of tests at a time: most of a test's time is one thread that traces graphs. tests/conftest.py has their order.
TWO_AT_ONCE := --numprocesses 2 --dist loadfile --no-loadscope-reorder

DOCS_INSTALLED := $(VENV)/.docs-installed

.PHONY: demo docs test test-thorough test-all lint types bench bench-quick parity older-tensorflow clean

$(INSTALLED): setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit("Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24" "setuptools>=77"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/softprompt demo --output demo_run

# The site, in site/: warnings are errors, links are checked, nothing is fetched.
docs: $(DOCS_INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	touch $@

test: $(INSTALLED)
	$(BIN)/python -m pytest $(TWO_AT_ONCE) -m "not thorough and not slow"

test-thorough: $(INSTALLED)
	$(BIN)/python -m pytest $(TWO_AT_ONCE) -m "thorough and not slow"

test-all: $(INSTALLED)
	$(BIN)/python -m pytest $(TWO_AT_ONCE) -m ""

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)
	$(BIN)/mypy

bench: $(INSTALLED) $(PARITY_INSTALLED)
	$(BIN)/python -m benchmarks.speed --peer-python $(PARITY_VENV)/bin/python

bench-quick: $(INSTALLED) $(PARITY_INSTALLED)
	$(BIN)/python -m benchmarks.speed --quick --peer-python $(PARITY_VENV)/bin/python

$(PARITY_INSTALLED): tests/parity/requirements.txt
	test -x $(PARITY_VENV)/bin/python || $(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/python -m pip install --quiet --requirement tests/parity/requirements.txt
	touch $@

$(ADAPTERS_INSTALLED): tests/parity/requirements-adapters.txt
	test -x $(ADAPTERS_VENV)/bin/python || $(PYTHON) -m venv $(ADAPTERS_VENV)
	$(ADAPTERS_VENV)/bin/python -m pip install --quiet --requirement tests/parity/requirements-adapters.txt
	touch $@

parity: $(INSTALLED) $(PARITY_INSTALLED) $(ADAPTERS_INSTALLED)
	$(PARITY_VENV)/bin/python tests/parity/record.py $(PARITY_RUN)
	$(ADAPTERS_VENV)/bin/python tests/parity/record_adapters.py $(PARITY_RUN)
	$(BIN)/python tests/parity/compare.py $(PARITY_RUN)
	$(PARITY_VENV)/bin/python tests/parity/peft_reads_ours.py $(PARITY_RUN)
	$(ADAPTERS_VENV)/bin/python tests/parity/adapterhub_reads_ours.py $(PARITY_RUN)

# The two TensorFlows before ours, which a server may still have.
OLDER := 2.20 2.19

.venv-tf%/.installed:
	test -x .venv-tf$*/bin/python || $(PYTHON) -m venv .venv-tf$*
	.venv-tf$*/bin/python -m pip install --quiet "tensorflow==$*.*" "tensorflow-text==$*.*"
	touch $@

older-tensorflow: $(INSTALLED) $(OLDER:%=.venv-tf%/.installed)
	$(BIN)/python tests/older_tensorflow/compare.py $(OLDER:%=.venv-tf%/bin/python)

clean:
	rm -rf $(VENV) $(PARITY_VENV) .venv-tf* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache demo_run site
