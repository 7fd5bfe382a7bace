# Everything runs from .venv, which holds exactly what requirements.lock pins: nothing is resolved anew (--no-deps).
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# A file's tests stay together, for what they share; a lost worker ends the run with an error.
# `test` has a worker more than the two cores: its tests wait for servers and processes a third of their time.
PARALLEL := -n 2 --dist loadfile --max-worker-restart 0
# Asserts are rewritten and compiled once, not in every run: that takes longer than all the rest of collecting.
export PYTHONDONTWRITEBYTECODE :=
# Seconds after which a test counts as stuck where one may take minutes on a busy machine.
PATIENT := -o faulthandler_timeout=1500
# What requirements.lock holds beside the dependencies: every extra but `bench`, whose packages want other versions.
EXTRAS := offline pdf heif report tune postgres dev
BENCH_EXTRA := $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["bench"], sep="\n")'
PEERS := .venv-bench/.ready
QUESTIONS := whole_run prepare call_path estimate one_image memory ledger confidence alignment skip_decision saturation orchestration page

.PHONY: bench demo test slow postgres ui soak all lint format lock samples clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    read the sample receipts with local OCR, as a Prefect flow, and print the rows"
	@echo "make test    all tests but the slow ones, those on PostgreSQL and those in a browser"
	@echo "make slow    the slow ones; make postgres and make ui run those that need PostgreSQL and Chromium"
	@echo "make all     all of these, as CI does; make soak the longest forms of some tests"
	@echo "make lint    ruff, mypy --strict, import-linter; make format mends what can be mended"
	@echo "make bench   all benchmarks, beside instructor, LiteLLM and the OpenAI SDK in .venv-bench: 10 minutes on two quiet cores"
	@echo "make lock    pin the newest dependencies that pyproject.toml allows"
	@echo "make samples render data/samples anew"

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tilewise needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)
	$(BIN)/tilewise run data/samples/receipts --schema receipt --offline --prefect
	$(BIN)/tilewise rows receipt
	@echo "next:  $(BIN)/tilewise report --open           the page of this run: documents, cost, failures"
	@echo "       $(BIN)/tilewise rows receipt --format csv > receipts.csv"
	@echo "       $(BIN)/tilewise try data/samples/receipts/photo.webp --schema receipt --offline"
	@echo "       $(BIN)/tilewise init my-folder          a working folder for your own images and schemas"

test: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) -n 3 -m "not slow and not postgres and not ui"

slow: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) $(PATIENT) -m "slow and not ui and not soak"

postgres: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) $(PATIENT) -m "postgres and not slow"

soak: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) $(PATIENT) -m soak

# As test, slow and postgres, with one collection for all of them: CI runs it.
all: $(READY)
	$(BIN)/python -m pytest -q $(PARALLEL) $(PATIENT) --durations 30 -m "not soak and not ui"

# SCREENSHOTS=docs make ui renews the pictures of the documentation.
ui: $(READY)
	$(BIN)/python -m pytest -q $(PATIENT) -m ui

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(READY)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 $(EXTRAS:%=--extra %) --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--output-file requirements.lock pyproject.toml
	$(BENCH_EXTRA) | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--output-file benchmarks/requirements.lock -

$(PEERS): benchmarks/requirements.lock
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		-r benchmarks/requirements.lock
	touch $@

# One file a question; longer forms: .venv/bin/python benchmarks/NAME.py --help
bench: $(READY) $(PEERS)
	set -e; for question in $(QUESTIONS); do $(BIN)/python benchmarks/$$question.py; done

samples: $(READY)
	$(BIN)/python data/samples/render.py

clean:
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis data/out
