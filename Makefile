# `make demo` and `make test` need Python 3.10 or newer and nothing else; both set up .venv first, once.
# Another Python: `make PYTHON=/path/to/python demo`. pip's own settings (PIP_INDEX_URL, PIP_FIND_LINKS, ...) are obeyed.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN := runs/support_tickets

# The sources come with the packages: nothing here needs the hub.
export HF_HUB_OFFLINE := 1

.PHONY: help demo test test-all lint clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      fit the example data and say where the report is"
	@echo "make test      the quick tests (some three minutes on 2 cores)"
	@echo "make test-all  all tests"
	@echo "make lint      ruff and mypy"
	@echo "make clean     remove .venv, runs/ and caches"

demo: $(VENV)/.installed
	$(BIN)/headstart fit examples/support_tickets.csv --text text --label label --test examples/support_tickets_test.csv --out $(RUN)
	@echo "The report: $(CURDIR)/$(RUN)/report.html"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A virtual environment with pip in it; one that was left half made is completed.
$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "headstart needs Python 3.10 or newer and found none; install one, or say make PYTHON=/path/to/python." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo >&2; \
		echo "$(PYTHON) could not make a virtual environment, most likely because it lacks ensurepip; on Debian and Ubuntu" >&2; \
		echo "'apt install python3-venv' adds it. Then run the same command again." >&2; exit 1; }
	@touch $@

# torch goes first and alone: so pip takes a CPU-only file where one is offered, before anything with a looser range asks for torch.
$(VENV)/.torch: $(VENV)/.made constraints.txt
	$(PIP) install -q -c constraints.txt torch
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt -e '.[dev,onnx,hub]'
	@touch $@
