# make test   prepares the environment and runs the tests, a real LangGraph server and, where it is installed, redis-server included
# make unit   all but those with a real server, and the slow ones
# make demo   a double click on the terminal, without the shim and with it; BACKEND=langgraph: on a real LangGraph server
# make lint   formatting, lint, types
# make bench  the benchmarks
# make docs   builds the site into build/site; a warning or a dead link fails

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
BACKEND ?= legacy
# Left to .ci/run: two sidecar processes for each test; other proxies, a browser, other clients, web frameworks, minutes of traffic.
SLOW    := tests/runtime/test_killed.py tests/differential tests/browser tests/clients tests/frameworks tests/soak
# Of the tests with a real server: random requests, and what other tests show without one.
SLOW_E2E := tests/e2e/test_openapi.py tests/e2e/test_vendor_websocket.py tests/e2e/test_migrate.py tests/e2e/test_tutorial.py

export UV_PYTHON_DOWNLOADS = never
# The tests start hundreds of processes: each would compile all its modules.
unexport PYTHONDONTWRITEBYTECODE
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: test matrix unit lint demo picture bench docs clean

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
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable ".[serve,redis,prometheus,otel]" --group dev
	touch $(READY)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*
