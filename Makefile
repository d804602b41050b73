# Two commands matter: `make demo` and `make test`. Both start from a bare clone with Python 3.11 or 3.12.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
DEBIAN_TOOLS := dcmtk dicom3tools pixelmed-apps orthanc orthanc-dicomweb postgresql chromium gcc libc6-dev

.PHONY: demo test unit lint bench faults soak fuzz screenshots tools clean

demo: $(VENV)/.demo
	$(BIN)/triage-agent demo

# The demo needs no test tools and the tests need no second environment: one .venv, two depths.
$(VENV)/.demo: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[all,dev,fuzz]'
	touch $@ $(VENV)/.demo

# What is no unit test waits for others half of its time: three at once keep two cores busy.
test: $(VENV)/.dev tools lint
	$(BIN)/python -m pytest tests/unit -n 2 --durations=5
	$(BIN)/python -m pytest tests --ignore=tests/unit --ignore=tests/benchmarks -n 3 --dist loadfile --durations=15

unit: $(VENV)/.dev
	$(BIN)/python -m pytest tests/unit -n 2

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy triage_agent
	$(BIN)/lint-imports

# Writes build/bench/*.json. What needs a GPU is left out, and named, where there is none.
bench: $(VENV)/.dev
	$(BIN)/python -m pytest tests/benchmarks -n 0 -s

# The long form of the fault trials, the same again with the same SEED; results in build/faults/*.json.
# TRIALS: on SQLite, as many again with the power cut; TRIALS / 5 on Postgres. LANES: how many at once.
faults: $(VENV)/.dev tools
	TRIAGE_FAULTS=$(or $(TRIALS),1000) TRIAGE_FAULT_SEED=$(or $(SEED),7) TRIAGE_FAULT_LANES=$(or $(LANES),3) \
		$(BIN)/python -m pytest -n 0 -p no:randomly tests/acceptance/faults
	TRIAGE_FAULT_TRIALS=15 TRIAGE_FAULT_STUDIES=100 $(BIN)/python -m pytest tests/acceptance/test_kill.py

# Studies at a steady rate: MINUTES (30) at RATE (10) a second. Results in build/faults/soak.json and soak.svg.
soak: $(VENV)/.dev
	TRIAGE_SOAK_MINUTES=$(or $(MINUTES),30) TRIAGE_SOAK_RATE=$(or $(RATE),10) \
		$(BIN)/python -m pytest -n 0 -p no:randomly tests/acceptance/faults/test_soak.py

# Each input's way in, guided by coverage, FUZZ_SECONDS each; what fails is left in build/fuzz.
fuzz: $(VENV)/.dev
	for target in pdu intake decode hl7 stow answers orders; do \
		$(BIN)/python tests/fuzz/run.py $$target --seconds $(or $(FUZZ_SECONDS),600) --seed 1 || exit 1; \
	done

# docs/web/*.png, of patients that are made up.
screenshots: $(VENV)/.dev tools
	$(BIN)/python tests/browser/screenshots.py

# Real peers of the tests. Where they may not be installed, pytest names each test that it leaves out.
tools:
	@bash tests/install-tools.sh $(DEBIAN_TOOLS)

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
