# Every target is one or two plain commands; the README names those a newcomer needs.
CARGO ?= cargo
BUILDER ?= buildah
# The same files give the same image.
BUILD_FLAGS ?= --timestamp 0
IMAGE ?= qdrant-backup:0.1.0
COMPONENT_IMAGE ?= qdrant-backup-component:0.1.0

.PHONY: demo test lint dist drill image component component-image oci clean

demo: ## watch a three-peer Qdrant being filled, backed up, wiped and restored
	$(CARGO) build --locked -p qdrant-backup
	$(CARGO) run --locked -q -p qdrant-backup-tests --bin demo -- target/debug/qdrant-backup

test: ## all tests
	$(CARGO) test --locked --workspace

lint: ## what a change has to pass besides the tests
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

dist: ## the release binary and the component, in dist/
	$(CARGO) build --locked --release -p qdrant-backup
	mkdir -p dist && cp target/release/qdrant-backup dist/
	dist/qdrant-backup component dist/qdrant-backup.wasm

drill: ## the program that opens archives in Qdrant's own engine, in dist/
	$(CARGO) build --locked --release -p qdrant-backup-drill
	mkdir -p dist && cp target/release/qdrant-backup-drill dist/

image: ## a container image of the program alone; BUILDER=docker BUILD_FLAGS= builds it by Docker
	$(CARGO) build --locked --release --target x86_64-unknown-linux-musl -p qdrant-backup
	$(BUILDER) build $(BUILD_FLAGS) -f k8s/Containerfile -t $(IMAGE) target/x86_64-unknown-linux-musl/release
	@ls -l target/x86_64-unknown-linux-musl/release/qdrant-backup | awk '{print "$(IMAGE): " $$5 " bytes"}'

component: ## the component alone, in dist/
	mkdir -p dist && $(CARGO) run --locked -q -p qdrant-backup -- component dist/qdrant-backup.wasm

component-image: component ## an image of the component alone, for an image volume
	$(BUILDER) build $(BUILD_FLAGS) -f k8s/component/image-volume/Containerfile -t $(COMPONENT_IMAGE) dist

oci: component ## the component as a wasm OCI artifact, in dist/oci
	$(CARGO) run --locked -q -p qdrant-backup -- oci dist/oci

clean: ## everything that was built
	$(CARGO) clean && rm -rf dist
