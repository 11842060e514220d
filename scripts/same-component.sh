#!/usr/bin/env bash
# Builds the component of the last commit in two folders, and compares the bytes. Each folder has its own sources and its own
# target directory, so that no path of the builder can be in it.
#
# usage: scripts/same-component.sh
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in a "b/with another path"; do
    mkdir -p "$work/$folder"
    git archive HEAD | tar --extract --directory "$work/$folder"
    # A check runs the build script of the program, which builds the component.
    (cd "$work/$folder" && CARGO_TARGET_DIR="$PWD/target" cargo check --locked --quiet -p qdrant-backup --no-default-features)
    cp "$work/$folder/target/component/wasm32-wasip2/component/qdrant_backup_component.wasm" "$work/${folder%%/*}.wasm"
done
sha256sum "$work"/?.wasm
cmp "$work/a.wasm" "$work/b.wasm"
echo "the component is the same in both folders: $(wc -c <"$work/a.wasm") bytes"
