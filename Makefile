# Tiphys: `make help` lists what can be done here.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-test check demo test unit e2e bench bench-api bench-autoscale bench-backup bench-ha bench-nodes bench-scale bench-scheduler conformance clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(VENV)/.ready: pyproject.toml tools/install-packages
	PYTHON=$(PYTHON) tools/install-packages
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	PYTHON=$(PYTHON) tools/install-packages etcd-server:etcd etcd-client:etcdctl strace:strace
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[lint,test,prose]'
	@touch $@

setup: $(VENV)/.ready ## the virtual environment, and the programs that a node needs

setup-test: $(VENV)/.ready-test ## the same with what the tests and linters need

check: setup-test ## ruff, mypy --strict and import-linter
	$(BIN)/ruff check src tests benchmarks demo tools
	$(BIN)/mypy
	$(BIN)/lint-imports

demo: setup ## start a cluster and show a web app on it (needs root)
	$(BIN)/python demo/demo.py

test: setup-test ## every test (needs root)
	$(BIN)/pytest tests

unit: setup-test ## the tests that need neither root nor other programs
	$(BIN)/pytest tests/unit tests/contract tests/property

e2e: setup-test ## the tests on real clusters (needs root)
	$(BIN)/pytest tests/e2e

bench: setup-test ## start-up time, memory, latency, throughput (needs root)
	$(BIN)/python benchmarks/bench.py

bench-scheduler: setup ## pods per second: decisions alone, and durably bound
	$(BIN)/python benchmarks/scheduler.py
	$(BIN)/python benchmarks/scheduler_bound.py

bench-autoscale: setup-test ## load on a real app: pods and nodes that follow it, and scale to zero (needs root)
	$(BIN)/python benchmarks/autoscale.py

bench-scale: setup-test ## 5,000 replicas on 1,000 simulated nodes, and the server's memory with 30,000 pods (needs root)
	$(BIN)/python benchmarks/scale.py

bench-nodes: setup-test ## several nodes on this machine: start-up, memory, the network between pods (needs root)
	$(BIN)/python benchmarks/nodes.py

bench-ha: setup-test ## what the loss of control planes and nodes costs, and faults at random (needs root)
	$(BIN)/python benchmarks/ha.py

bench-backup: setup ## what backups, restoring and migrating cost, of 50,000 objects
	$(BIN)/python benchmarks/backup.py

bench-api: setup ## processor time of an API operation, over TLS with RBAC and admission
	$(BIN)/python benchmarks/api.py

conformance: setup ## upstream's own tests: E2E_TEST=path of e2e.test, AREA=api (needs root)
	tools/conformance

clean: ## remove what was built
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
