# Rowcast. `make help` lists the targets. Needs Python 3.11 or newer and make.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MADE   := $(VENV)/.made
WORKERS ?= 2
FUZZED := $(addprefix tests/abuse/test_,fuzz_bodies.py fuzz_open_inference.py fuzz_grpc.py fuzz_arrow.py arrow_bounds.py) \
          $(addprefix tests/service/test_,v2_known_forms.py columns.py long_json.py)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast check lint types format lock lock-serving proto clean bench-accuracy bench-training bench-calibration bench-step bench-stacked bench-crawl bench-cost bench-device bench-torchrun bench-interrupt bench-tuning bench-folds bench-columns bench-budget bench-predict bench-transfer bench-distil bench-serving bench-protocols bench-versions bench-middleware bench-stalls bench-loadtest bench-omission bench-request bench-fast-paths bench-start proof-raw-rows proof-bento proof-store proof-poisoned proof-restarts proof-memory proof-deadlines proof-fairness proof-overload proof-platforms proof-processes proof-quiet proof-resume proof-rollout proof-swaps proof-tune proof-large proof-torchrun bento image-test fuzz fuzz-gate fuzz-tables

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(MADE)  ## Make .venv with exactly the locked versions, all extras

demo: $(MADE)  ## Train on a year of real flights, publish the model and serve it; Ctrl-C stops
	@$(BIN)/rowcast demo

test: $(MADE)  ## Run the test suite: on two workers (WORKERS=3), then alone what measures time or memory
	@status=0; \
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal -m 'not alone' || status=$$?; \
	$(BIN)/python -m pytest -m alone $$(grep -rlw --include='*.py' 'mark\.alone' tests) || status=$$?; exit $$status

test-fast: $(MADE)  ## Run what starts no process, fits no network and tries no property on many cases: a minute
	$(BIN)/python -m pytest --fast --numprocesses logical --dist worksteal

fuzz: $(MADE)  ## Read 20,000 damaged bodies a decoder within memory and time, 200,000 guided by branches, try 2,000 on each property, ask a service 6,000 times
	PIP_CONSTRAINT=requirements.lock $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.abuse.guided
	! $(BIN)/python -m tests.abuse.guided broken
	$(BIN)/python -m tests.abuse.body_bounds
	FUZZ_CASES=2000 $(BIN)/python -m pytest --timeout 3600 --numprocesses $(WORKERS) --dist worksteal $(FUZZED)
	FUZZ_CASES=20000 $(BIN)/python -m pytest --timeout 3600 tests/abuse/test_fuzz_http.py tests/abuse/test_fuzz_connections.py tests/abuse/test_openapi.py

fuzz-tables: $(MADE)  ## Train on 2,000 random tables of odd columns and ask by every protocol (ARGS="--tables 300"); goes on where it was
	OMP_NUM_THREADS=1 $(BIN)/python -m proofs.tables $(ARGS)

fuzz-gate: $(MADE)  ## Train and export 500 models of random configs on random tables through the export gate
	FUZZ_CASES=500 $(BIN)/python -m pytest tests/training/test_gate.py

check: lint types test  ## Lint, types and tests

lint: $(MADE)  ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(MADE)  ## Check types
	$(BIN)/mypy

format: $(MADE)  ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## Lock the newest versions that pyproject.toml admits: all of them, and with hashes what serving needs
	tools=$$(mktemp -d) && trap 'rm -rf $$tools' EXIT && $(PYTHON) -m venv $$tools \
	  && $$tools/bin/pip install --quiet 'torch==2.13.0' '.[dev,fuzz]' \
	  && { sed -n '/^#/p' requirements.lock; $$tools/bin/pip freeze --exclude rowcast | sed 's/+cpu//'; } > $$tools/lock \
	  && mv $$tools/lock requirements.lock
	$(MAKE) lock-serving

lock-serving:
	tools=$$(mktemp -d) && trap 'rm -rf $$tools' EXIT && $(PYTHON) -m venv $$tools \
	  && $$tools/bin/pip install --quiet uv \
	  && $$tools/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate \
	       --constraint requirements.lock pyproject.toml --output-file $$tools/lock \
	  && { echo '# What serving needs, exact and with hashes, for every platform. Written by `make lock`.'; cat $$tools/lock; } \
	       > requirements-serving.lock

proto: $(MADE)  ## Compile service/protocols/grpc/open_inference.proto
	cd service/protocols/grpc && ../../../$(BIN)/python -m grpc_tools.protoc --proto_path=. --descriptor_set_out=open_inference.binpb open_inference.proto

bento: $(MADE)  ## Build a bento of chosen versions: make bento MODELS=flights:3,other (the latest of each)
	@ROWCAST_MODELS="$(or $(MODELS),$(ROWCAST_MODELS))" $(BIN)/python -m image.bento

bench-accuracy: $(MADE)  ## Measure flights beside LightGBM, on the same rows in one run
	$(BIN)/python -m benchmarks.training.flights_auc

bench-training: $(MADE)  ## Measure training beside CatBoost, LightGBM, XGBoost and RealMLP (makes .bench); ARGS=--ablation
	$(BIN)/python -m benchmarks.training.compare $(ARGS)

bench-calibration: $(MADE)  ## Measure what calibration does to test rows
	$(BIN)/python -m benchmarks.training.calibration $(ARGS)

bench-step: $(MADE)  ## Measure a training step against the floor of its matrix products
	$(BIN)/python -m benchmarks.training.step

bench-stacked: $(MADE)  ## Measure a step of several fits one by one and stacked into one: three minutes
	$(BIN)/python -m benchmarks.training.stacked

bench-crawl: $(MADE)  ## Measure a fit beside busy processes and within half a core: how much longer it takes (ARGS="--rounds 1")
	$(BIN)/python -m benchmarks.training.crawl $(ARGS)

bench-cost: $(MADE)  ## Measure an epoch and its memory by rows, and a run of each preset's graph
	$(BIN)/python -m benchmarks.training.cost

bench-device: $(MADE)  ## Measure training and runs on a CUDA device beside the CPU of the same machine
	$(BIN)/python -m benchmarks.training.device

bench-interrupt: $(MADE)  ## Measure from Ctrl-C to a published model
	$(BIN)/python -m benchmarks.training.interrupt

bench-tuning: $(MADE)  ## Measure a tuned model beside `balanced` on three tables; ARGS="--minutes 4" ends in time and is gone on with
	$(BIN)/python -m benchmarks.training.tuning $(ARGS)

bench-folds: $(MADE)  ## Measure five folds beside one fit on five tables: accuracy, coverage, calibration; goes on where it was
	$(BIN)/python -m benchmarks.training.folds $(ARGS)

bench-columns: $(MADE)  ## Measure target statistics and group aggregates as further columns, on validation rows: six minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.training.made_columns $(ARGS)

bench-budget: $(MADE)  ## Measure `best` in 300 s beside AutoGluon's best_quality in 300 s: ten minutes a table; ARGS="--data california"
	$(BIN)/python -m benchmarks.training.compare --results benchmarks/results/budget.json --contenders rowcast,autogluon --presets best-300s $(ARGS)

bench-transfer: $(MADE)  ## Measure few rows from fresh weights beside those of a model; goes on where it was
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.training.transfer

bench-distil: $(MADE)  ## Measure small students with and without a teacher on three tables; ARGS="--minutes 4" ends in time and is gone on with
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.training.distil $(ARGS)

bench-torchrun: $(MADE)  ## Measure an epoch by two processes beside one with two threads: three minutes
	$(BIN)/python -m benchmarks.training.processes $(ARGS)

bench-predict: $(MADE)  ## Measure model.predict in Python beside bare ONNX Runtime
	$(BIN)/python -m benchmarks.training.predict

bench-serving: $(MADE)  ## Measure the service beside nine others, on one core each (makes .bench)
	$(BIN)/python -m benchmarks.serving.compare

bench-protocols: $(MADE)  ## Measure V2 JSON, V2 binary, gRPC and Arrow beside servers that speak them (makes .bench)
	$(BIN)/python -m benchmarks.serving.protocols

bench-versions: $(MADE)  ## Measure this checkout beside another one: make bench-versions AGAINST=../before (installed there)
	$(BIN)/python -m benchmarks.serving.versions $(AGAINST) $(ARGS)

bench-middleware: $(MADE)  ## Measure what API keys, the access log and traces cost
	$(BIN)/python -m benchmarks.serving.middleware

bench-stalls: $(MADE)  ## Measure the slowest requests of a minute at half load, beside the server by hand
	$(BIN)/python -m benchmarks.serving.stalls

bench-loadtest: $(MADE)  ## Measure whether searches repeat and plans hold: eight minutes of a machine that does nothing else
	$(BIN)/python -m benchmarks.serving.planned $(ARGS)

bench-omission: $(MADE)  ## Measure what open and closed loops see of a server that stands still for a second
	$(BIN)/python -m benchmarks.serving.omission

bench-request: $(MADE)  ## Measure where the microseconds of a request go
	$(BIN)/python -m benchmarks.serving.request

bench-fast-paths: $(MADE)  ## Measure what each fast path of the service saves, with it and without it
	$(BIN)/python -m benchmarks.serving.fast_paths

bench-start: $(MADE)  ## Measure cold start and memory of a worker (after make demo)
	$(BIN)/python -m benchmarks.serving.start

proof-raw-rows: $(MADE)  ## Compare 10,000 raw flights over HTTP with bare ONNX Runtime (after make demo)
	$(BIN)/python -m proofs.raw_rows

proof-bento: $(MADE)  ## Build a bento, install just its requirements, and serve from there
	$(BIN)/python -m proofs.bento

image-test: $(MADE)  ## Build the container image, run it and look inside (root, buildah, debootstrap; or BASE=an image)
	$(BIN)/python -m proofs.image $(if $(BASE),--base $(BASE))

proof-store: $(MADE)  ## Kill publishes, fill the disk, mutate models: the store holds
	$(BIN)/python -m proofs.store

proof-poisoned: $(MADE)  ## Bad requests in 10,000 batches, and over HTTP: nobody else may fail
	$(BIN)/python -m proofs.poisoned

proof-restarts: $(MADE)  ## 20 rolling restarts without a failed request, then workers killed for a minute
	$(BIN)/python -m proofs.restarts

proof-processes: $(MADE)  ## 100 kills, stops and signals at random moments: back or ended in time, and nothing left
	$(BIN)/python -m proofs.processes $(ARGS)

proof-memory: $(MADE)  ## Memory after 200,000 requests (ARGS=--long: 2,000,000) and after abuse; a leak must be noticed
	$(BIN)/python -m proofs.memory $(ARGS)
	! $(BIN)/python -m proofs.memory --leak --requests 10000

proof-deadlines: $(MADE)  ## 1,000 random deadlines under load: none run too late, none refused too soon
	$(BIN)/python -m proofs.deadlines

proof-fairness: $(MADE)  ## Single rows beside a client of 4,096-row requests: delayed by two full runs at most
	$(BIN)/python -m proofs.fairness

proof-overload: $(MADE)  ## Five minutes at three times capacity: only 200s and 429s, and the accepted stay fast
	$(BIN)/python -m proofs.overload

proof-quiet: $(MADE)  ## Training and both ways to serve in a network with a recorder: nothing is sent home (Linux, root or user namespaces)
	$(BIN)/python -m proofs.quiet $(ARGS)

proof-resume: $(MADE)  ## Kill fits at 20 random moments and resume them: the same model to the last bit
	$(BIN)/python -m proofs.resume $(ARGS)

proof-rollout: $(MADE)  ## Canaries' shares and keys in 100,000 requests, how soon guards act, what a shadow costs (ARGS="--only shadow")
	$(BIN)/python -m proofs.rollout $(ARGS)

proof-swaps: $(MADE)  ## 1,000 swaps and 200 damaged versions under load: no request fails, nothing is left (ARGS="--swaps 50")
	$(BIN)/python -m proofs.swaps $(ARGS)

proof-large: $(MADE)  ## Train on 20 million flights within 4 GiB, beside a part in memory (ARGS="--rows 2000000 --memory 1.5")
	$(BIN)/python -m proofs.large $(ARGS)

proof-tune: $(MADE)  ## Kill studies at 20 random moments, and share one between two processes: no trial is lost
	$(BIN)/python -m proofs.tune $(ARGS)

proof-torchrun: $(MADE)  ## Train by processes on one machine and on two (network namespaces), kill one, cut the cable (ARGS="--only cut")
	$(BIN)/python -m proofs.torchrun $(ARGS)

proof-platforms: $(MADE)  ## MLflow's, KServe's, SageMaker's and Vertex AI's own clients ask the service (makes .bench/platforms)
	$(BIN)/python -m proofs.platforms $(ARGS)

clean:  ## Remove the environment and what tools leave behind
	rm -rf $(VENV) .demo .bench build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(MADE): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Rowcast needs Python 3.11 or newer; point make at one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=requirements.lock $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
