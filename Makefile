# Every target is one or two plain commands; the README names those a newcomer needs.
CARGO ?= cargo
BUILDER ?= buildah
# The same files give the same image.
BUILD_FLAGS ?= --timestamp 0
IMAGE ?= qdrant-backup:0.1.0

.PHONY: demo test lint dist image clean

demo: ## watch a three-peer Qdrant being filled, backed up, wiped and restored
	$(CARGO) build --locked -p qdrant-backup
	$(CARGO) run --locked -q -p qdrant-backup-tests --bin demo -- target/debug/qdrant-backup

test: ## all tests
	$(CARGO) test --locked --workspace

lint: ## what a change has to pass besides the tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

dist: ## the release binary and the component, in dist/
	$(CARGO) rustc --locked -p qdrant-backup-component --lib --crate-type cdylib --target wasm32-wasip2 --profile component
	mkdir -p dist && cp target/wasm32-wasip2/component/qdrant_backup_component.wasm dist/qdrant-backup.wasm
	COMPONENT_WASM_FILE=$(CURDIR)/dist/qdrant-backup.wasm $(CARGO) build --locked --release -p qdrant-backup
	cp target/release/qdrant-backup dist/

image: ## a container image of the program alone; BUILDER=docker BUILD_FLAGS= builds it by Docker
	$(CARGO) build --locked --release --target x86_64-unknown-linux-musl -p qdrant-backup
	$(BUILDER) build $(BUILD_FLAGS) -f k8s/Containerfile -t $(IMAGE) target/x86_64-unknown-linux-musl/release

clean: ## everything that was built
	$(CARGO) clean && rm -rf dist
