# make env    prepares the environment, and runs nothing
# make test   prepares the environment and runs the tests, a real LangGraph server and, where it is installed, redis-server included
# make unit   all but those with a real server, and the slow ones
# make demo   a double click on the terminal, without the shim and with it; BACKEND=langgraph: on a real LangGraph server
# make lint   formatting, lint, types
# make bench  the benchmarks
# make docs   builds the site into build/site; a warning or a dead link fails
# make clean  removes the environment and all caches

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
BACKEND ?= legacy
# Left to .ci/run: two sidecar processes for each test; builds and installations; other proxies, a browser, other clients, web
# frameworks, minutes of traffic, the examples.
SLOW    := tests/runtime/test_killed.py tests/packaging tests/differential tests/browser tests/clients tests/frameworks tests/soak \
           tests/examples
# Of the tests with a real server: random requests, and what other tests show without one.
SLOW_E2E := tests/e2e/test_openapi.py tests/e2e/test_vendor_websocket.py tests/e2e/test_migrate.py tests/e2e/test_tutorial.py

export UV_PYTHON_DOWNLOADS = never
# uv verifies an index with the system's certificates then, as pip does.
export UV_SYSTEM_CERTS ?= 1
# The tests start hundreds of processes: each would compile all its modules.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

# What `make env` installs. uv does not read pip's configuration: where only that names the index or its certificate, pip installs.
PACKAGES := --constraint constraints.txt --editable ".[serve,redis,prometheus,otel]" --group dev

.PHONY: help env test matrix unit lint demo picture bench docs clean

help:
	@sed -n 's/^# \(make \)/\1/p' Makefile

env: $(READY)

# The matrix mostly waits for its servers, the other tests compute: side by side, they take half the time.
test: $(READY)
	@$(MAKE) unit >$(VENV)/unit.log 2>&1 & unit=$$!; trap 'kill $$unit' INT TERM; \
	$(MAKE) matrix; passed=$$?; wait $$unit || passed=1; cat $(VENV)/unit.log; exit $$passed

matrix: $(READY)
	$(BIN)/python -m tests.servers langgraph langgraph:inside -- $(BIN)/pytest -n 20 tests/e2e $(SLOW_E2E:%=--ignore %) $(ARGS)

unit: $(READY)
	$(BIN)/pytest -n 4 --ignore tests/e2e $(SLOW:%=--ignore %) $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github

demo: $(READY)
	@$(BIN)/$(if $(filter legacy,$(BACKEND)),ap-resume-shim demo,python -m tests.servers.demo $(BACKEND))

# The README's picture: the demo's output.
picture: $(READY)
	$(BIN)/python -m tests.support.demo_picture

bench: $(READY)
	$(BIN)/python -m benchmarks

docs: $(VENV)/.docs
	$(BIN)/sphinx-build -q -W --keep-going -E -d build/doctrees -c docs . build/site
	$(BIN)/python -m tests.site build/site

$(VENV)/.docs: $(READY)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --group docs
	touch $@

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python $(PACKAGES) || { \
	  echo "uv could not install the packages, for the reason above. pip tries it, with pip's own configuration." >&2; \
	  $(BIN)/python -m pip install --quiet --upgrade "pip>=25.1" && $(BIN)/python -m pip install --quiet $(PACKAGES); }
	touch $(READY)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
