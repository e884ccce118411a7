# SPDX-License-Identifier: GPL-2.0-or-later
# Each target is one script of tools/ or one command of .venv; `make help` lists them.

PREFIX ?= /usr/local
DESTDIR ?=
# Arguments for pytest or the benchmark: make test ARGS='-k pref64 -x'
ARGS ?=
export PREFIX DESTDIR

.DEFAULT_GOAL := help
.PHONY: help test test-versions test-nm-matrix test-networkd-matrix test-clatd test-machines test-packages demo lab lint format bench fuzz trees install install-files uninstall purge dist debs rpms packages clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: ## see it work: NetworkManager, an IPv6-only network and clatnm, all in namespaces (root)
	@tools/packages.sh lab
	@tools/venv.sh
	@.venv/bin/python -m tests.lab.demo

test: ## install what is missing, lint, run every test (root for all of them); ARGS='...' goes to pytest
	@tools/test.sh $(ARGS)

test-versions: ## what touches libraries, with the oldest ones and with dbus-fast alone (root)
	@tools/versions.sh $(ARGS)

test-nm-matrix: ## the tests of the whole with NetworkManager 1.42, 1.52 and 1.58; writes docs/networkmanager.md (root)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m tests.e2e.nm_matrix $(ARGS)

test-clatd: ## configurations of a real clatd, imported: the same for a user? (root)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m pytest tests/e2e/clatd_migration.py $(ARGS)

test-networkd-matrix: ## the same with systemd-networkd 252, 257 and 262 or newer; writes docs/networkd.md (root)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m tests.e2e.networkd_matrix $(ARGS)

test-machines: ## every job in whole machines under qemu, old and new kernels; writes docs/tested-on.md (root, some 25 minutes)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m tests.machines matrix $(ARGS)

lab: ## a shell on a host with NetworkManager in a lab of three networks (root)
	@tools/packages.sh lab
	@tools/venv.sh
	@.venv/bin/python -m tests.lab shell

trees: ## Debian trees with newer NetworkManagers, for tests that need them; kept in /var/cache/clatnm-tests (root)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m tests.lab.trees

lint: ## every linter
	@tools/venv.sh
	@tools/lint.sh

format: ## let ruff format and mend what it can
	@tools/venv.sh
	@.venv/bin/ruff check --quiet --fix-only .
	@.venv/bin/ruff format .

bench: ## measure native IPv6, clatnm and TAYGA, and write docs/benchmarks.md (root); ARGS=--quick for a glance
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m tests.bench $(ARGS)

fuzz: ## a million generated packets through the eBPF programs and the translator (root); ARGS='PACKETS SEED'
	@tools/packages.sh install
	@tools/venv.sh
	@.venv/bin/python -m tests.bpf.fuzz $(ARGS)

install: ## install into PREFIX (default /usr/local) with an environment of its own (root)
	@tools/install.sh install

install-files: ## only the files around the Python package, for distribution packages
	@tools/install.sh files

uninstall: ## take away what `make install` installed; configuration and state stay (root)
	@tools/install.sh uninstall

purge: ## take away that and configuration and state too (root)
	@tools/install.sh purge

dist: ## source tarball, source distribution and wheel into dist/, the same bytes every time
	@tools/packages.sh install
	@tools/venv.sh
	@.venv/bin/python tools/dist.py
	@tools/give-back.sh

test-packages: ## an rpm upgraded where systemd runs, and Debian's own tests by autopkgtest (root, some minutes)
	@tools/packages.sh test
	@tools/venv.sh
	@.venv/bin/python -m pytest tests/packaging/rpm_upgraded.py tests/packaging/autopkgtests.py $(ARGS)

debs: ## Debian packages, into dist/ (root, for what they are built with)
	@tools/packages.sh deb
	@tools/build-deb.sh
	@tools/give-back.sh

rpms: ## what `make dist` makes, and rpms of it, into dist/ (root, some minutes: with all unit tests)
	@tools/packages.sh rpm
	@tools/venv.sh
	@.venv/bin/python tools/dist.py
	@SOURCES=dist tools/build-rpm.sh
	@tools/give-back.sh

packages: rpms debs ## both (root)

clean: ## remove .venv, caches and build leftovers
	@rm -rf .venv build dist *.egg-info clatnm/bpf/clat.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find clatnm tests -name __pycache__ -type d -prune -exec rm -rf {} +
