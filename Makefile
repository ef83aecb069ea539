# `make run` and `make test` are the two commands; `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Every version and its hash; no index address, so that any mirror serves.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Without compiled files each command that a test starts compiles the whole package anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test deploy-test browser victoria package release unit coverage mutate chaos fuzz check format bench fleet schema docs influxd constraints clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@[ -w . ] || { echo "the folder $(CURDIR) cannot be written; clone into one of your own" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 run")'
	@$(PYTHON) -m venv $(VENV) || { echo "no virtual environment could be made; on Debian: apt-get install python3-venv" >&2; rm -rf $(VENV); exit 1; }

$(VENV)/run.installed: constraints/run.txt pyproject.toml | $(BIN)/python
	$(INSTALL) --require-hashes -r constraints/run.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.installed: constraints/dev.txt $(VENV)/run.installed
	$(INSTALL) --require-hashes -r constraints/dev.txt
	@touch $@

$(VENV)/measure.installed: constraints/measure.txt $(VENV)/dev.installed
	$(INSTALL) --require-hashes -r constraints/measure.txt
	@touch $@

$(VENV)/release.installed: constraints/release.txt $(VENV)/run.installed
	$(INSTALL) --require-hashes -r constraints/release.txt
	@touch $@

$(VENV)/deploy.installed: constraints/deploy.txt $(VENV)/dev.installed
	$(INSTALL) --require-hashes -r constraints/deploy.txt
	@touch $@

run: $(VENV)/run.installed ## run the agent on its embedded store, until Ctrl-C
	@exec $(BIN)/metrics-pipeline run

# Tests wait, too: more at a time than there are cores.
PYTEST = $(BIN)/python -m pytest -n 3 --dist worksteal
test: $(VENV)/dev.installed ## run every test, against a disposable InfluxDB
	@tests/influxd/build.sh --if-needed
	$(PYTEST) -m "not deploy"

deploy-test: $(VENV)/deploy.installed ## install the agent in every way, for real; needs root
	@tests/influxd/build.sh --if-needed
	$(BIN)/python -m pytest -m deploy tests/deploy

# Few examples of what has many. These tests hardly wait, and each worker collects them all.
EXAMPLES ?= --hypothesis-profile quick
# They have no quick tests; to look for some takes 2 s.
SLOW = browser chaos deploy victoria
unit: $(VENV)/dev.installed ## run the quick tests, which need no InfluxDB
	$(PYTEST) -n 2 $(EXAMPLES) -m "not influxdb and not slow and not deploy" $(SLOW:%=--ignore tests/%)

# The quick tests alone: make coverage COVERED='not influxdb and not slow and not deploy'
COVERED ?= not deploy
coverage: $(VENV)/measure.installed ## run every test, and print which branches of pipeline/ none takes
	@tests/influxd/build.sh --if-needed
	$(BIN)/coverage erase
	-$(BIN)/coverage run -m pytest -n 3 --dist worksteal -m "$(COVERED)"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

mutate: $(VENV)/measure.installed ## change lines of some modules, and print which change no test notices
	$(BIN)/mutmut run
	$(BIN)/mutmut results

# Ten minutes at most, with what the end takes.
CHAOS_SECONDS ?= 540
CHAOS_SEED ?= $(shell date +%s)
chaos: export CHAOS_SECONDS := $(CHAOS_SECONDS)
chaos: export CHAOS_SEED := $(CHAOS_SEED)
chaos: $(VENV)/dev.installed ## break agent and server at random, and settle the account
	@tests/influxd/build.sh --if-needed
	$(BIN)/python -m pytest --capture=no tests/chaos/test_chaos.py

FUZZ_SEED ?= $(shell date +%s)
fuzz: $(VENV)/dev.installed ## give the collectors 10,000 texts that no kernel writes; some minutes
	$(PYTEST) --hypothesis-profile long --hypothesis-seed=$(FUZZ_SEED) tests/collectors/test_fuzz.py

browser: $(VENV)/dev.installed ## look at the agent's page in a Chromium, which it needs
	$(BIN)/python -m pytest tests/browser

victoria: $(VENV)/dev.installed ## deliver to a real VictoriaMetrics, which it needs
	@tests/influxd/build.sh --if-needed
	$(BIN)/python -m pytest tests/victoria

check: $(VENV)/dev.installed ## ruff, ruff format and mypy strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/dev.installed ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

package: $(VENV)/run.installed ## build a Debian package with all that the agent is made of
	@deploy/debian/build.sh $(BIN)/python

release: $(VENV)/release.installed ## make all files of a release, with their checksums, in dist/
	@deploy/release.sh $(BIN)/python

# Without a peer its rows stay empty; collectd is Debian's, and for its user to install.
bench: $(VENV)/dev.installed ## measure all, beside its peers, and write docs/performance.md
	@tests/influxd/build.sh --if-needed
	-@benchmarks/peers/telegraf.sh
	-@PYTHON=$(PYTHON) benchmarks/peers/glances.sh
	$(BIN)/python -m benchmarks

fleet: $(VENV)/dev.installed ## simulate a fleet on one influxd, and write what it takes into docs/scale.md
	@tests/influxd/build.sh --if-needed
	$(BIN)/python -m benchmarks.fleet

schema: $(VENV)/dev.installed ## compare with what Telegraf writes
	-@benchmarks/peers/telegraf.sh
	$(BIN)/python -m benchmarks.schema

docs: $(VENV)/dev.installed ## write docs/metrics.md, and the tables of docs/settings.md
	$(BIN)/metrics-pipeline metrics --markdown > docs/metrics.md
	$(BIN)/python -m tests.settings.documents

influxd: ## build influxd 2.7 into the user's cache, for tests without Docker
	@tests/influxd/build.sh

RESOLVE = printf 'flit_core<5\n' | uv pip compile --universal --python-version 3.11 --upgrade --generate-hashes --no-header --no-annotate --quiet pyproject.toml -
# What is tested is what runs.
AS_RUN = $(RESOLVE) --constraint constraints/run.txt
constraints: ## resolve the pinned versions anew (needs uv)
	$(RESOLVE) --output-file constraints/run.txt
	$(AS_RUN) --extra dev --output-file constraints/dev.txt
	$(AS_RUN) --extra dev --extra measure --output-file constraints/measure.txt
	$(AS_RUN) --extra release --output-file constraints/release.txt
	$(AS_RUN) --extra dev --extra release --extra deploy --output-file constraints/deploy.txt

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* mutants
