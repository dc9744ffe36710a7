SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo local test test-long test-real test-all campaign mutate lint sbom build render pictures bench build-artifact

# What runs here talks to this machine only. Loopback goes through no proxy, whichever the reader has set, and the
# reader's AWS settings mean nothing to the local cloud.
COMMA := ,
export no_proxy := 127.0.0.1,localhost$(addprefix $(COMMA),$(value no_proxy))$(addprefix $(COMMA),$(value NO_PROXY))
export NO_PROXY := $(value no_proxy)
unexport $(filter AWS_%,$(.VARIABLES))
export AWS_CONFIG_FILE := /dev/null
export AWS_SHARED_CREDENTIALS_FILE := /dev/null

# Everything runs on Node 22.18 or later. Where the machine's own is older, a locked Node 24 comes from the registry.
# No target is an absolute path: make takes a path with a space for two.
IS_NODE_NEW := $(shell node -p '[major, minor] = process.versions.node.split("."); major > 23 || (major == 22 && minor > 17)' 2>/dev/null)
ifneq ($(IS_NODE_NEW),true)
NODE_READY := tools/node_modules/.installed
NODE_FOLDER := node-linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)/bin
export PATH := $(CURDIR)/tools/node_modules/$(NODE_FOLDER):$(value PATH)
endif

# What Node makes of a script before it runs it: kept, it saves a quarter of a second at each start.
export NODE_COMPILE_CACHE := $(CURDIR)/node_modules/.cache/node

NODE := node --disable-warning=ExperimentalWarning
JEST := $(NODE) node_modules/jest/bin/jest.js

# esbuild and Biome come as binaries inside packages: nothing here needs an install script. npm keeps what it fetched
# in the reader's home; where that cannot be written, in a folder that goes away again.
NPM_CI := cache=$$(npm config get cache); mkdir -p "$$cache/_cacache" "$$cache/_logs" 2>/dev/null || true; \
	if ! [ -w "$$cache/_cacache" ] || ! [ -w "$$cache/_logs" ]; then \
	  cache=$$(mktemp -d); trap 'rm -rf "$$cache"' EXIT; \
	fi; \
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --cache "$$cache"

help: ## lists what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 16

demo: build ## the main job against a local cloud: no AWS account, no Docker
	@$(NODE) local/demo.ts

local: build ## the local cloud stays up until it is told to quit
	@$(NODE) local/main.ts

test: build ## the tests that need only Node, npm, make, bash, openssl and git
	@$(JEST) $(JEST_FLAGS) --selectProjects bare

test-long: build ## the tests that take minutes: installs that are interrupted, whole fleets, make demo and make local
	@$(JEST) $(JEST_FLAGS) --selectProjects long

test-real: build ## the tests that need other programs: servers, curl, strace, AWS CLI, SAM CLI
	@$(JEST) $(JEST_FLAGS) --selectProjects real

test-all: test test-long test-real ## all three

campaign: node_modules/.installed ## lets every call of every flow fail, in every way; CAMPAIGN=<name> for one set. The last run is in docs/campaign.md
	@$(NODE) tests/campaign/main.ts $(CAMPAIGN)

mutate: build ## widens every limit a little, and turns checks round: a test must fail each time; MUTATE=<file> for one. The last run is in docs/mutation.md
	@$(NODE) tests/mutation/main.ts $(MUTATE)

lint: node_modules/.installed ## types, Biome, shellcheck, state machine, templates, dependencies
	@echo 'Checking types, format, scripts and templates ...'
	@node_modules/.bin/tsc -p .
	@node_modules/.bin/biome ci --error-on-warnings .
	@$(NODE) scripts/lint.ts

sbom: node_modules/.installed ## build/sbom.json: every package with licence and hash, as CycloneDX
	@$(NODE) scripts/sbom.ts

build: node_modules/.installed ## layer, functions and the command acm-export into build/
	@echo 'Building layer, functions and command ...'
	@flock scripts/build.ts $(NODE) scripts/build.ts

render: node_modules/.installed ## writes what is made from other files: SSM documents, API description, tables of the docs
	@$(NODE) scripts/render.ts

pictures: build ## the drawings of the README, from real runs against a local cloud
	@$(NODE) local/pictures.ts

bench: build ## measures; BENCH=<name> for one of bench/. The figures stand in docs/performance.md
	@$(NODE) bench/main.ts $(BENCH)

# Called by SAM through functions/Makefile and layers/runtime/Makefile, with the folder in ARTIFACTS_DIR.
build-artifact: node_modules/.installed
	@$(NODE) scripts/build.ts "$$LOGICAL_ID" "$$ARTIFACTS_DIR"

# Only one at a time installs or builds: another one in the same folder waits, and finds it done.
node_modules/.installed: package-lock.json | $(NODE_READY)
	@echo 'Installing packages, once: this takes a minute ...'
	@exec 9<package-lock.json; flock 9; [ $@ -nt $< ] || { $(NPM_CI); touch $@; }

tools/node_modules/.installed: tools/package-lock.json
	@echo 'The own Node is older than 22.18: installing Node 24 into tools/, once ...'
	@exec 9<$<; flock 9; [ $@ -nt $< ] || { cd tools; $(NPM_CI); touch node_modules/.installed; }
