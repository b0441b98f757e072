# Two commands: make study, make test. Each makes .venv by itself.
SHELL := /bin/bash
PYTHON ?= python3
UV_VERSION := 0.13.8
BIN := .venv/bin
# Huge pages spare the CPU some page faults in training; harmless where the C library does not know them.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

.PHONY: study report test lab bench lint extract lock clean

study: .venv/ready
	$(BIN)/kdlib run --profile quick $(ARGS)

# One page of what was run: make report ARGS="--profile reduced".
report: .venv/ready
	$(BIN)/kdlib report $(ARGS)

test: .venv/ready
	$(BIN)/python -m pytest $(ARGS)

lab: .venv/ready
	$(BIN)/python -m ipykernel install --sys-prefix --name kdlib --display-name "kdlib study" >/dev/null
	$(BIN)/jupyter lab --notebook-dir=. $(ARGS) notebooks/01_kd_sweep.ipynb

# With the peers it is timed against, which nothing else needs.
bench: .venv/bench
	$(BIN)/python -m benchmarks $(ARGS)

.venv/bench: .venv/ready requirements-bench.lock
	@uv=$$(command -v uv || echo $(BIN)/uv); \
	"$$uv" pip install -q --python $(BIN)/python --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

lint: .venv/ready
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# The environment: uv from the path, or uv inside the environment; pinned versions, hashes checked.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "kdlib needs Python 3.11 or newer; say: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@set -e; \
	if command -v uv >/dev/null; then uv=uv; uv venv -q --allow-existing --python "$$(command -v $(PYTHON))" .venv; \
	else $(PYTHON) -m venv .venv || { echo "python3 -m venv failed: install python3-venv, or uv"; exit 2; }; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check "uv==$(UV_VERSION)"; uv=$(BIN)/uv; fi; \
	echo "installing the pinned packages into .venv (several GB the first time)"; \
	"$$uv" pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; \
	"$$uv" pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

# What is said in other languages than English: new messages enter the catalogues, what is no longer said leaves them.
extract: .venv/ready
	.venv/bin/python -c "from kdlib.reporting.core import i18n; i18n.extract()"

# After a change of dependencies in pyproject.toml.
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-annotate -q -o requirements.lock
	sed -nE 's/^([a-z0-9._-]+==[^ ]+( ;.*[^ \\])?) *\\?$$/\1/p' requirements.lock > constraints.txt
	uv pip compile pyproject.toml --extra dev --extra bench --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-emit-index-url --no-annotate -q -c requirements.lock -o requirements-bench.lock
	@# What requirements.lock holds is not said twice.
	awk 'NR == FNR { if (/^[a-z0-9]/) seen[$$1]; next } /^[a-z0-9]/ { keep = !($$1 in seen) } keep' \
	  requirements.lock requirements-bench.lock > requirements-bench.part && mv requirements-bench.part requirements-bench.lock

clean:
	rm -rf .venv build *.egg-info
