# SPDX-FileCopyrightText: The fleetops.kms contributors
# SPDX-License-Identifier: GPL-3.0-or-later

# Each target does all of its set-up: it needs a Python from 3.10 on with its venv module, and a package registry.
# CORE picks the ansible-core release to work with (tests/matrix/ansible-core.cfg; newest is the newest that this
# machine has a Python for). Everything made stands under build/.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

usable = "$(1)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3.10 python3 python \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.*/bin/python; \
	do if $(call usable,$$python); then echo "$$python"; break; fi; done)
ifeq ($(PYTHON),)
$(error No Python from 3.10 on was found: name one with PYTHON=)
endif

CORE ?= newest
JOBS ?= auto
VENV = $(eval VENV := $$(shell $$(PYTHON) tests/tools/environments.py path $$(CORE)))$(VENV)
RUN = PATH="$(abspath $(VENV))/bin:$$PATH" FLEETOPS_KMS_BIN="$(abspath $(VENV))/bin" \
	FLEETOPS_KMS_COLLECTIONS="$(abspath build/collections)" $(VENV)/bin/python
PYTEST = $(RUN) -m pytest -n $(JOBS)
SUITES = tests/integration tests/unit
LAB_FLEET ?= tests/lab/fleets/demo.yml

.PHONY: help
help: ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: venv
venv: build/dev/ansible_collections/fleetops/kms ## A virtual environment with ansible-core and all tools
	@$(PYTHON) tests/tools/environments.py make $(CORE)
	@$(PYTHON) tests/tools/environments.py kerberos $(CORE)

.PHONY: venvs
venvs: # Those of "make test", without what is built against libraries that may be on their way
	@$(PYTHON) tests/tools/environments.py make $(CORE) oldest

build/dev/ansible_collections/fleetops/kms:
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

.PHONY: build
build: venv ## The artifact in build/artifact, installed in build/collections
	@$(RUN) tests/tools/install.py

.PHONY: lint
lint: build ## Format, types, YAML, licences, documentation, ansible-lint, galaxy-importer
	@$(RUN) tests/tools/lint.py

.PHONY: sanity
sanity: build ## ansible-test sanity on the installed artifact
	@$(RUN) tests/tools/sanity.py

.PHONY: unit
unit: venv ## The unit tests
	@$(PYTEST) tests/unit

.PHONY: integration
integration: build ## ansible-playbook against the simulated fleet and real DNS servers
	@$(PYTEST) tests/integration

.PHONY: test
test: build/dev/ansible_collections/fleetops/kms ## Everything above, and the oldest ansible-core: under a quarter of an hour
	@$(PYTHON) tests/tools/everything.py --jobs $(JOBS) $(CORE)

.PHONY: matrix
matrix: build ## Sanity and all tests on every ansible-core release that this machine has a Python for
	@$(PYTHON) tests/tools/matrix.py --sanity

.PHONY: fuzz
fuzz: build ## All tests, the generated ones searching forty times as long
	@HYPOTHESIS_PROFILE=long $(PYTEST) $(SUITES)

.PHONY: demo
demo: build ## The whole story on a simulated fleet (tests/tools/demo.py)
	@$(RUN) tests/tools/demo.py

.PHONY: lab
lab: build ## A simulated fleet to play with until Ctrl-C: LAB_FLEET=file.yml
	@$(RUN) tests/tools/run_lab.py $(LAB_FLEET)

.PHONY: bench
bench: build ## What a machine costs the controller: BENCH=--short for less
	@$(RUN) tests/benchmarks/run.py $(BENCH)

.PHONY: bench-fleet
bench-fleet: build ## What cleaning up 2,000 rogues among 3,000 machines takes: BENCH=--short for less
	@$(RUN) tests/benchmarks/fleet.py $(BENCH)

.PHONY: format
format: venv ## Format the Python code
	@$(VENV)/bin/ruff format -q . && $(VENV)/bin/ruff check -q --fix .

.PHONY: changelog
changelog: venv ## CHANGELOG.md from changelogs/fragments, for the version of galaxy.yml
	@PATH="$(abspath $(VENV))/bin:$$PATH" antsibull-changelog release --update-existing --reload-plugins --refresh

.PHONY: clean
clean: ## Remove all that was made
	@rm -rf build tests/output
