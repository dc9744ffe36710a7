# make demo    the main job on this machine: no AWS account, no Docker
# make test    every test that needs only Node, npm, bash and openssl
# make test-all these, and those that need other programs: servers, curl, strace, AWS CLI
# make lint    types, Biome, shellcheck, ASL, templates
# make local   the local cloud, until it is stopped
# make build   layer and functions into build/
# make render  writes the SSM documents into member-account.yaml
# make bench   measures; the figures stand in docs/performance.md

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
.PHONY: demo test test-real test-all lint local build render bench build-artifact

# Everything runs on Node 24. Where the machine's own Node is older than 22, a locked Node 24 comes from the
# registry, without install scripts.
NODE_MAJOR := $(shell node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
ifeq ($(shell [ $(NODE_MAJOR) -ge 22 ] && echo new),new)
NODE_READY :=
else
ARCH := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
NODE_HOME := $(CURDIR)/tools/node_modules/node-linux-$(ARCH)/bin
NODE_READY := $(NODE_HOME)/node
export PATH := $(NODE_HOME):$(CURDIR)/node_modules/.bin:$(PATH)
endif

# esbuild and Biome come as binaries inside packages: nothing here needs an install script.
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
JEST := node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js

demo: build
	@node local/demo.ts

local: build
	@node local/main.ts

test: build
	@$(JEST) $(JEST_FLAGS) --selectProjects bare

test-real: build
	@$(JEST) $(JEST_FLAGS) --selectProjects real

test-all: test test-real

bench: build
	@node bench/main.ts $(BENCH)

build: node_modules/.installed
	@node scripts/build.ts

# Called by SAM through functions/Makefile and layers/runtime/Makefile.
build-artifact: node_modules/.installed
	@node scripts/build.ts '$(LOGICAL_ID)' '$(OUT)'

render: node_modules/.installed
	@node scripts/render-member-account.ts

lint: node_modules/.installed
	@node_modules/.bin/tsc -p .
	@node_modules/.bin/biome ci --error-on-warnings .
	@node scripts/lint.ts

node_modules/.installed: package-lock.json $(NODE_READY)
	@echo 'Installing packages (once) ...'
	@$(NPM_CI)
	@touch $@

$(CURDIR)/tools/node_modules/%/bin/node: tools/package-lock.json
	@echo 'Node $(NODE_MAJOR) is older than 22: installing Node 24 into tools/ (once) ...'
	@cd tools && $(NPM_CI)
	@touch $@
