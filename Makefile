# Everything sets itself up: `make demo` and `make test` need Python 3.11 or newer and a package index, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := -m pytest -q -n 2 --dist worksteal
OTHERS := $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python $(HOME)/.pyenv/versions/3.13.*/bin/python) \
          $(shell command -v python3.12 2>/dev/null) $(shell command -v python3.13 2>/dev/null)
OTHER_VERSIONS := $(sort $(foreach python,$(OTHERS),$(shell $(python) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)))

.PHONY: help demo test test-python test-engines test-all test-airflow airflow-environment test-airflow2 .test-airflow2 test-prefect test-slurm slurm-packages quick lint types bench clean $(addprefix test-,$(OTHER_VERSIONS))

help:
	@echo "make demo    train at three commits, ask all three for a metric that none logged, draw demo-output/accuracy.png"
	@echo "make test    every test, on every supported Python that is installed"
	@echo "make quick   the tests that take less than a few seconds, and nothing else"
	@echo "make lint    formatting, lint and types"
	@echo "make bench   benchmarks beside peers, written to benchmarks/RESULTS.md"

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/demo-ready: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[demo]'
	@touch $@

$(VENV)/test-ready: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch  # uv would take the build for CUDA
	@touch $@

demo: $(VENV)/demo-ready
	$(BIN)/hindsight demo

lint: $(VENV)/test-ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(MAKE) --no-print-directory types PYTHON=$(BIN)/python

# The packages as they are installed, where tools that only look at folders find them.
types:
	@rm -rf build/as-installed && mkdir -p build/as-installed/tracker
	@ln -s $(CURDIR)/tracker/* build/as-installed/tracker/
	@ln -s $(CURDIR)/decorators $(CURDIR)/operators build/as-installed/tracker/
	$(PYTHON) -m mypy

quick: $(VENV)/test-ready
	$(BIN)/python $(PYTEST) -m 'not slow and not s3'

# Two rows beside each other: what computes, and the engines, whose tests mostly wait. `make --keep-going test` tells of
# all failures and not of the first alone.
test: $(BIN)/uv slurm-packages
	$(MAKE) --no-print-directory -j 2 --output-sync=line test-python test-engines

test-python:
	$(MAKE) --no-print-directory -j 1 lint test-all $(addprefix test-,$(OTHER_VERSIONS))

test-engines:
	$(MAKE) --no-print-directory -j 1 test-airflow test-airflow2 test-prefect test-slurm

test-all: $(VENV)/test-ready
	$(BIN)/python $(PYTEST)

# Airflow pins packages that others need newer, so it has an environment of its own. Its warnings are not ours to mend.
airflow-environment: $(BIN)/uv
	test -x .venv-airflow/bin/python || $(PYTHON) -m venv .venv-airflow
	$(BIN)/uv pip install --quiet --python .venv-airflow/bin/python --constraint constraints.txt --constraint constraints-airflow.txt \
	  --editable '.[airflow,s3,slurm]' 'moto[server]' psutil pytest pytest-timeout scikit-learn

test-airflow: airflow-environment slurm-packages
	.venv-airflow/bin/python -m pytest -q -W default tests/airflow

# The same operators in Airflow 2.11, in the process of the tests: `dag.test()`, and what its pages and workers would load.
OF_AIRFLOW_2 := $(addprefix tests/airflow/test_,tracked_tasks.py operators.py provider.py sync.py factory.py)
test-airflow2: $(BIN)/uv
	@if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then $(MAKE) --no-print-directory .test-airflow2; \
	else echo "Airflow 2.11 needs Python 3.12 or older: its tests are not run"; fi

.test-airflow2:
	test -x .venv-airflow2/bin/python || $(PYTHON) -m venv .venv-airflow2
	$(BIN)/uv pip install --quiet --python .venv-airflow2/bin/python --constraint constraints-airflow2.txt \
	  --editable '.[airflow,s3]' 'apache-airflow<3' 'moto[server]' psutil pytest pytest-timeout scikit-learn
	.venv-airflow2/bin/python -m pytest -q -W default $(OF_AIRFLOW_2)

# A real Prefect server and real runners.
test-prefect: $(BIN)/uv
	test -x .venv-prefect/bin/python || $(PYTHON) -m venv .venv-prefect
	$(BIN)/uv pip install --quiet --python .venv-prefect/bin/python --constraint constraints.txt --constraint constraints-prefect.txt \
	  --override overrides-prefect.txt --editable '.[prefect,s3]' 'moto[server]' psutil pytest pytest-timeout
	.venv-prefect/bin/python -m pytest -q tests/prefect

# A real Slurm on this machine. Where its packages cannot be installed (root is needed) its tests are skipped, and say so.
SLURM_PACKAGES := slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins
slurm-packages:
	@PATH="$$PATH:/usr/sbin:/sbin"; command -v slurmctld slurmd munged sbatch >/dev/null || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM_PACKAGES) >/dev/null; } || \
	echo "Slurm is not installed and cannot be: the tests that need it are skipped"

test-slurm: $(BIN)/uv slurm-packages
	test -x .venv-slurm/bin/python || $(PYTHON) -m venv .venv-slurm
	$(BIN)/uv pip install --quiet --python .venv-slurm/bin/python --constraint constraints.txt \
	  --editable '.[slurm,s3]' 'moto[server]' psutil pytest pytest-timeout pytest-xdist
	.venv-slurm/bin/python -m pytest -q -n 2 --dist loadfile tests/slurm

# The other versions run everything but the long crash matrix, each in an environment of its own.
$(addprefix test-,$(OTHER_VERSIONS)): test-%: $(BIN)/uv
	python=$$(for p in $(OTHERS); do $$p -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$*")' 2>/dev/null && echo $$p && break; done); \
	test -x .venv-$*/bin/python || $$python -m venv .venv-$*; \
	$(BIN)/uv pip install --quiet --python .venv-$*/bin/python --constraint constraints.txt --editable '.[test]' && \
	.venv-$*/bin/python $(PYTEST) -m 'not slow'

bench: $(BIN)/uv airflow-environment
	$(PYTHON) benchmarks/run.py

clean:
	rm -rf .venv .venv-* build *.egg-info demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
