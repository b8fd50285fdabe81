# SPDX-License-Identifier: GPL-2.0
#
# Front end: every target is a script under scripts/. The module's own rules are
# in Kbuild.

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := all

# Which kernel (see `make help`), and other choices of the user.
export KERNEL KDIR MIRROR V INSTALL_MOD_PATH QUICK MINUTES SEED TARGETS

S := scripts

.PHONY: all
all: ## build the module (the default)
	@$S/build

.PHONY: demo
demo: ## boot a guest and show the module at work, step by step
	@$S/demo

.PHONY: check
check: ## all tests: formatting, clippy, host tests and their coverage, guest tests
	@$S/check

.PHONY: check-host
check-host: ## the tests that need no guest (cargo test)
	@$S/check-host

.PHONY: check-guest
check-guest: ## the tests in a guest with the kernel of KERNEL
	@$S/check-guest

.PHONY: check-debug
check-debug: ## the guest tests on kernels that look for mistakes (the first time 30 min to build)
	@$S/check-debug

.PHONY: check-detectors
check-detectors: ## mistakes on purpose: whether the kernel of KERNEL (debug) finds them
	@$S/check-detectors

.PHONY: check-clients
check-clients: ## programs that others wrote (QEMU, DPDK, ...) on the device, in a guest
	@$S/check-clients

.PHONY: soak
soak: ## everything at random, in a guest: MINUTES=n (10), SEED=n (the time)
	@$S/soak

.PHONY: check-hostile hostile-table
check-hostile: ## a malicious driver: hundreds of attacks, in a guest
	@$S/check-hostile
hostile-table: ## the same on the kernel's own simulator, too; a table of both
	@$S/hostile-table

.PHONY: fuzz fuzz-keep fuzz-guest
fuzz: ## fuzz what the host can run of the module (MINUTES=10, TARGETS=, SEED=)
	@$S/fuzz
fuzz-keep: ## what `make fuzz` has found worth while becomes the corpora in the tree
	@$S/fuzz --keep
fuzz-guest: ## a driver that does anything, in a guest (MINUTES=10, SEED=)
	@$S/fuzz-guest

.PHONY: bench bench-check
bench: ## measure, beside the kernel's own simulator: table, JSON, plots (QUICK=1: less)
	@$S/bench
bench-check: ## fail if counted figures are worse than selftests/bench-baseline.json
	@$S/bench-check

.PHONY: shell
shell: ## a terminal in a guest that has the module loaded
	@$S/shell

.PHONY: coverage
coverage: ## line coverage of rust/virtio and rust/net by the host tests
	@$S/coverage

.PHONY: clippy
clippy: ## Rust's linter, with the kernel's settings
	@$S/clippy

.PHONY: fmt fmt-check
fmt: ## format all Rust code
	@$S/fmt
fmt-check: ## tell what `make fmt` would change
	@$S/fmt --check

.PHONY: rustdoc
rustdoc: ## the module's documentation of its Rust code, in build/rustdoc
	@$S/rustdoc

.PHONY: rust-analyzer
rust-analyzer: ## rust-project.json for editors
	@$S/rust-analyzer

.PHONY: docs
docs: ## Documentation/ as web pages, in build/docs
	@$S/docs

.PHONY: modules_install
modules_install: ## install the module on this machine (with KERNEL=running or KDIR=)
	@$S/modules_install

.PHONY: setup
setup: ## all downloads and preparation; looks for newer kernels too
	@$S/setup

.PHONY: clean distclean
clean: ## remove what was built from this clone
	@$S/clean
distclean: ## remove the cache too (build environment, kernels)
	@$S/clean --all

.PHONY: help
help: ## this text
	@$S/help $(firstword $(MAKEFILE_LIST))
