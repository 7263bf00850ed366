# Each target installs what it needs. PYTHON chooses the interpreter: make test PYTHON=python3.13

PYTHON ?= python3
VENV := .venv/$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
RUN := $(VENV)/bin/python
PIP_FLAGS := --quiet --disable-pip-version-check
CONSTRAINTS := constraints/$(shell $(PYTHON) -c 'import sys; print("python3.11" if sys.version_info < (3, 12) else "python3.12")').txt
READY := $(VENV)/.ready

.PHONY: setup quickstart demo test test-fast test-portable test-parity test-beam lint docs dist try-wheel bench-peers clean

setup: $(READY)

$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install $(PIP_FLAGS) --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

quickstart: setup  ## train, evaluate and export on the two built-in shops; writes runs/quickstart/
	$(RUN) train.py configs/quickstart.py --workdir runs/quickstart

demo: setup  ## the page on the two built-in shops, at http://127.0.0.1:8000
	$(RUN) -m llmrec_jax demo

test: setup
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup  ## without the tests marked slow
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

# What may differ between versions of Python and JAX: reading, configuration, command line, files, inference, numbers of
# the losses, one run that is killed and resumed, one step of the quickstart.
PORTABLE := tests/config tests/data tests/inference tests/losses tests/cli \
  tests/train/test_resume.py::test_killed_run_equals_the_straight_one --ignore tests/inference/test_trained.py

test-portable: setup  ## the subset that .ci/run runs on a second Python
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PORTABLE)
	dir=$$(mktemp -d) && $(RUN) train.py configs/quickstart.py --workdir $$dir --train.steps 1 && rm -r $$dir

PARITY := $(VENV)-parity

$(PARITY)/.ready: $(READY) constraints/peers.txt
	$(RUN) -m pip install $(PIP_FLAGS) --no-compile --constraint constraints/peers.txt --upgrade --target $(PARITY) torch \
	  sentence-transformers
	touch $@

# On Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu avoids the CUDA build of torch.
test-parity: $(PARITY)/.ready  ## the encoders against torch and its libraries; torch stays out of the main environment
	PYTHONPATH=$(CURDIR)/$(PARITY) $(RUN) -m pytest -m parity

BEAM := $(VENV)-beam

$(BEAM)/.ready: $(READY) constraints/beam.txt
	$(RUN) -m pip install $(PIP_FLAGS) --no-compile --constraint constraints/beam.txt --upgrade --target $(BEAM) apache-beam
	touch $@

test-beam: $(BEAM)/.ready  ## preparing a domain with Apache Beam, which stays out of the main environment
	PYTHONPATH=$(CURDIR)/$(BEAM) $(RUN) -m pytest tests/data/test_distributed.py

lint: setup
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

docs: setup  ## the site of docs/, in build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

dist: setup  ## dist/*.whl and dist/*.tar.gz, the wheel built from the sdist
	rm -rf dist
	$(RUN) -m build --outdir dist

try-wheel: dist  ## install the wheel into a new environment outside the checkout, train and recommend there
	.ci/try-wheel $(PYTHON) $(CONSTRAINTS) dist/*.whl

PEERS := .venv/peers
DATA ?= ../shared/data

$(PEERS)/.ready: constraints/peers.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install $(PIP_FLAGS) --constraint constraints/peers.txt torch transformers numpy
	touch $@

bench-peers: setup $(PEERS)/.ready  ## this project beside PyTorch; DATA holds the folders beauty and scientific
	$(RUN) -m benchmarks.peers --torch-python $(PEERS)/bin/python --data-root $(DATA)

clean:
	rm -rf .venv runs .cache dist build
