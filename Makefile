# One door for developers and users. Every target makes what it needs; `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= demo-out
PROCESSES ?= auto
LIMITS := build/limits
ARM64_CACHE ?= .cache/arm64

.DEFAULT_GOAL := help
.PHONY: help demo fleet test test-all test-limits test-arm64 startup docs check format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# An environment a set of extras: the demo needs none of the developers' tools.
$(VENV)/demo.done: pyproject.toml constraints.txt
	@echo "installing into $(VENV), about a minute"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[demo]'
	@touch $@

$(VENV)/dev.done: $(VENV)/demo.done
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Flower needs older packages than the developers' tools: an environment of its own, for tests that start it.
build/fleet/done: pyproject.toml constraints-fleet.txt
	$(PYTHON) -m venv build/fleet
	build/fleet/bin/python -m pip install -qq --disable-pip-version-check -c constraints-fleet.txt -e '.[fleet]'
	@touch $@

fleet: build/fleet/done ## Flower in build/fleet, for the tests of many boards

demo: $(VENV)/demo.done ## the whole product on real digits: prepare, learn 5 tasks, predict, profile
	$(BIN)/python profiles/tools/demo.py --out $(OUT)

test: $(VENV)/dev.done ## the fast tests
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

test-all: $(VENV)/dev.done ## all tests, the slow ones too
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile -m 'slow or not slow'

# Weights make no difference to memory: ResNet-18 has random ones.
$(LIMITS)/lite0-%: $(VENV)/demo.done
	@mkdir -p $(LIMITS)
	$(BIN)/lightcl-host export --model efficientnet_lite0 --image-size $* --out $@ --force --quiet

$(LIMITS)/lite0-64-many: $(VENV)/demo.done
	@mkdir -p $(LIMITS)
	$(BIN)/lightcl-host export --model efficientnet_lite0 --image-size 64 --max-classes 600 --out $@ --force --quiet

$(LIMITS)/resnet18: $(VENV)/demo.done
	@mkdir -p $(LIMITS)
	$(BIN)/lightcl-host export --model resnet18_cifar --weights none --out $@ --force --quiet

LIMITED := $(LIMITS)/lite0-64 $(LIMITS)/lite0-64-many $(LIMITS)/lite0-128 $(LIMITS)/lite0-224 $(LIMITS)/resnet18
test-limits: $(LIMITED) ## train and predict under memory limits of 416, 256 and 160 MiB (root; many minutes)
	$(BIN)/python profiles/tools/limits.py $(LIMITED) --out profiles/reports/limits.json

startup: $(VENV)/demo.done ## how long importing and --help take, beside a bare Python
	$(BIN)/python profiles/tools/startup.py

test-arm64: $(VENV)/dev.done ## the arm64 image, emulated as each Raspberry Pi (root; hours at first, resumable)
	PYTHONPATH=tests $(BIN)/python -m arm64 --cache $(ARM64_CACHE) --out profiles/reports/arm64

docs: $(VENV)/dev.done ## the documents as a site in build/docs, with search; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "open build/docs/index.html"

check: $(VENV)/dev.done ## style, types, docstrings, who imports whom, the Dockerfile and its scripts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -x $(BIN)/hadolint ]; then set -x; $(BIN)/hadolint Dockerfile.arm64 && $(BIN)/shellcheck edge/docker/*.sh .ci/*.sh .ci/run; \
	else echo "hadolint and shellcheck are packaged for x86-64 only: Dockerfile.arm64 not checked here"; fi

format: $(VENV)/dev.done ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and what the demo made
	rm -rf $(VENV) $(OUT) build dist
