# Every target is one or two plain commands; the README names those a newcomer needs.
CARGO ?= cargo

.PHONY: demo test lint dist clean

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
	mkdir -p dist && cp target/release/qdrant-backup dist/ && dist/qdrant-backup component > dist/qdrant-backup.wasm

clean: ## everything that was built
	$(CARGO) clean && rm -rf dist
