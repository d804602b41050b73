# Two commands matter: `make demo` and `make test`. Both start from a bare clone with Python 3.11 or 3.12.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# Unit tests that import torch, scikit-learn or scipy, which takes each process seconds.
MODELS := tests/unit/models tests/unit/learning tests/unit/cli/test_explain_command.py \
	tests/unit/cli/test_learning_commands.py tests/unit/simulation/test_phantom_files.py
# Unit tests that wait: for sockets, threads and processes of their own, or for a time to be over.
WAITING := $(addprefix tests/unit/,conformance test_bootstrap.py test_nothing_left_out.py test_policy_file.py test_readiness.py test_worker.py \
	$(addprefix cli/,test_check_tls.py test_conformance_command.py test_feedback_command.py test_fetch_command.py \
	test_ports.py test_reaching.py test_starting.py test_user_command.py test_waiting_for_tables.py) \
	$(addprefix delivery/,test_acknowledgement.py test_http.py test_mllp.py) \
	$(addprefix dimse/,test_checkpoint.py test_limits.py test_wire.py) intake/test_restored_files.py listeners/test_pool.py \
	ops/test_traces.py results/test_evidence.py $(addprefix web/,test_app.py test_door.py test_plots.py) worklist/test_one_writer.py)
UNIT := tests/unit $(addprefix --ignore=,$(MODELS) $(WAITING))
REST := $(filter-out tests/unit/ tests/benchmarks/ tests/support/ tests/__pycache__/,$(wildcard tests/*/)) $(MODELS)
DEBIAN_TOOLS := dcmtk dicom3tools pixelmed-apps orthanc orthanc-dicomweb postgresql prometheus rsyslog rsyslog-gnutls systemd chromium gcc libc6-dev

.PHONY: demo test unit models waiting lint bench ops ray faults soak fuzz tampering vulnerabilities images screenshots tools clean

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

# What is no unit test waits for others half of its time: three at once keep two cores busy. The longest files begin first
# (tests/support/longest.py), which xdist would turn round. Of the long ones a third run each day
# (tests/support/rotation.py); PART=all leaves none out.
test: $(VENV)/.dev tools
	$(MAKE) --jobs=2 lint unit
	$(MAKE) waiting
	TRIAGE_PART=$(or $(PART),$(shell echo $$(( $$(date +%s) / 86400 % 3 )))) $(BIN)/python -m pytest $(REST) -n 3 --dist loadfile --no-loadscope-reorder --durations=15

unit: $(VENV)/.dev
	$(BIN)/python -m pytest $(UNIT) -n 2 --dist worksteal -p no:schemathesis --durations=5

models: $(VENV)/.dev
	$(BIN)/python -m pytest $(MODELS) -n 2

waiting: $(VENV)/.dev
	$(BIN)/python -m pytest $(WAITING) -n 4 --dist loadfile

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy triage_agent
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive triage_agent

# Writes build/bench/*.json, and from them the tables and pictures of docs/performance.md and docs/capacity.md, also where a
# benchmark failed. What needs a GPU is left out, and named, where there is none. Routes (routes.json) take half an hour:
# BENCH_SECONDS (300) at BENCH_RATE (10) studies a second for each of five groups; the others 40 minutes together, and
# docs/performance.md names what makes each shorter. BENCH: one of them, or some.
bench: $(VENV)/.dev tools
	$(BIN)/python -m pytest $(or $(BENCH),tests/benchmarks) -n 0 -s -p no:randomly; measured=$$?; \
		$(BIN)/python tests/benchmarks/report.py && exit $$measured

# Alerts, dashboard, metrics and traces at their peers; upgrade, way back, backup and restore, each as its page says.
ops: $(VENV)/.dev tools
	TRIAGE_OPS=1 TRIAGE_PART=all $(BIN)/python -m pytest -n 0 tests/unit/test_operations_pages.py tests/acceptance/test_metrics.py \
		tests/acceptance/test_prometheus.py tests/acceptance/test_traces.py tests/acceptance/test_upgrade.py

# The long form of the fault trials, the same again with the same SEED; results in build/faults/*.json.
# TRIALS: on SQLite, as many again with the power cut; TRIALS / 5 on Postgres. LANES: how many at once.
faults: $(VENV)/.dev tools
	TRIAGE_FAULTS=$(or $(TRIALS),1000) TRIAGE_FAULT_SEED=$(or $(SEED),7) TRIAGE_FAULT_LANES=$(or $(LANES),3) \
		$(BIN)/python -m pytest -n 0 -p no:randomly tests/acceptance/faults
	TRIAGE_FAULT_TRIALS=15 TRIAGE_FAULT_STUDIES=100 $(BIN)/python -m pytest tests/acceptance/test_kill.py \
		tests/acceptance/test_object_store.py

# Studies at a steady rate: MINUTES (30) at RATE (10) a second. Results in build/faults/soak.json and soak.svg.
soak: $(VENV)/.dev
	TRIAGE_SOAK_MINUTES=$(or $(MINUTES),30) TRIAGE_SOAK_RATE=$(or $(RATE),10) \
		$(BIN)/python -m pytest -n 0 -p no:randomly tests/acceptance/faults/test_soak.py

# Each input's way in, guided by coverage, FUZZ_SECONDS each; what fails is left in build/fuzz.
fuzz: $(VENV)/.dev
	for target in pdu intake decode hl7 stow answers orders workitems; do \
		$(BIN)/python tests/fuzz/run.py $$target --seconds $(or $(FUZZ_SECONDS),600) --seed 1 || exit 1; \
	done

# A sealed audit log tampered with TIMES (10000) times at random, by SEED: every time it must be found.
tampering: $(VENV)/.dev
	TRIAGE_TAMPERINGS=$(or $(TIMES),10000) TRIAGE_TAMPERING_SEED=$(or $(SEED),7) \
		$(BIN)/python -m pytest -n 0 -s -o timeout=7200 tests/contract/test_audit_tampering.py -k every_tampering_is_found

# Replicas and workers at a simulated model time, build/bench/scale_out.json; and a Ray cluster whose nodes die under load.
ray: $(VENV)/.dev tools
	$(BIN)/python -m pytest -n 0 -s tests/integration/test_cluster_ray.py tests/integration/test_cluster_groups.py tests/integration/test_cluster_link.py tests/benchmarks/test_scale_out.py

# Known vulnerabilities of what constraints.txt pins; asks PyPI, and fails where it cannot.
vulnerabilities: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

# The steps of deploy/docker/Dockerfile in bare environments, without Docker; sizes in build/images.json. It asks PyPI for 1.2 GB.
images: $(VENV)/.dev tools
	TRIAGE_IMAGES=1 $(BIN)/python -m pytest -n 0 -p no:randomly tests/acceptance/test_images.py

# docs/web/*.png, of patients that are made up.
screenshots: $(VENV)/.dev tools
	$(BIN)/python tests/browser/screenshots.py

# Real peers of the tests. Where they may not be installed, pytest names each test that it leaves out.
tools:
	@bash tests/install-tools.sh $(DEBIAN_TOOLS)

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
