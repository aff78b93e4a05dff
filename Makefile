# `make train` and `make test` do all the set-up on a machine that has Python, pip and make.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/
# Two processes test beside each other, and each has servers and a Ray cluster of its own.
BESIDE := --numprocesses=2
BY_FILE := $(BESIDE) --dist=loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help train test quick proof check format stack schedule rehearsal drills audit docs links tutorial clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

train: $(VENV)/train  ## train on the embedded digits, and register the model
	$(RUN)python pipelines/train.py

test: $(VENV)/dev  ## what proves the code and needs no GPU
	$(RUN)python -m pytest $(BY_FILE)

quick: $(VENV)/dev  ## the tests of alexnet/ and pipelines/ that start no server
	$(RUN)python -m pytest $(BY_FILE) --ignore=tests/infra --ignore=tests/docs -m "not slow and not photos and not proof"

proof: $(VENV)/dev  ## the long proofs, with a table at the end: drills, rehearsal, tutorial, all kills
	$(RUN)python -m pytest $(BESIDE) --dist=worksteal -m proof

check: $(VENV)/dev  ## format, lint, types, import contracts
	$(RUN)ruff format --check .
	$(RUN)ruff check .
	$(RUN)mypy
	$(RUN)lint-imports

format: $(VENV)/dev  ## rewrite the code in the one format
	$(RUN)ruff format .
	$(RUN)ruff check --fix .

stack: $(VENV)/dev  ## an S3 server, MLflow and a Ray cluster on this machine, until Ctrl-C
	$(RUN)python -m infra.local_stack

schedule: $(VENV)/schedule  ## retrain by a schedule, with a page, until Ctrl-C; ARGS="CONFIG --set ..."
	$(RUN)python -m infra.schedules $(ARGS)

rehearsal: $(VENV)/dev  ## retrainings by a schedule on a cluster of three nodes, one of them killed
	$(RUN)python -m infra.rehearsal

audit:  ## the lock against the known vulnerabilities; asks PyPI
	$(PYTHON) -m venv build/audit
	build/audit/bin/pip install --quiet pip-audit
	build/audit/bin/pip-audit --no-deps --disable-pip --requirement constraints.txt

drills: $(VENV)/dev  ## break a training in every way it must survive; ONLY=name RUNS=n for one
	$(RUN)python -m infra.drills --only "$(ONLY)" --runs $(or $(RUNS),0)

links: $(VENV)/docs  ## follow the links of docs/ to other places; needs a network
	$(RUN)python -m sphinx --fresh-env --builder linkcheck --quiet docs build/links

docs: $(VENV)/docs  ## the site of docs/, into build/site; a warning is an error
	$(RUN)python -m sphinx --fresh-env --fail-on-warning --quiet docs build/site
	@echo "open build/site/index.html"

tutorial: $(VENV)/train  ## do docs/tutorial.md in a fresh clone, from the installation on
	$(RUN)python -m infra.documentation.tutorial

clean:  ## remove the environment and what runs left here
	rm -rf $(VENV) build data runs mlruns mlflow.db

# Each stamp is newer than what it was made from. `dev`, `docs` and `schedule` add to `train`, so one
# environment serves.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/train: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(RUN)python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev: pyproject.toml constraints.txt $(VENV)/train | $(VENV)/bin/python
	$(RUN)python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/schedule: pyproject.toml constraints.txt $(VENV)/train | $(VENV)/bin/python
	$(RUN)python -m pip install --quiet --constraint constraints.txt --editable '.[schedule]'
	@touch $@

$(VENV)/docs: pyproject.toml constraints.txt $(VENV)/train | $(VENV)/bin/python
	$(RUN)python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@
