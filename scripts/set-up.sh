#!/usr/bin/env bash
# What `make demo` and `make test` need. Installs what needs no root (targets of Rust, Python packages in target/python), and
# names what is missing on the machine, with the command that installs it.
#
# usage: scripts/set-up.sh demo | test
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?usage: scripts/set-up.sh demo|test}
target=${CARGO_TARGET_DIR:-target}
missing=()

has() { command -v "$1" >/dev/null 2>&1; }
need() { missing+=("$1"); }
# Adds a target of Rust, if it is not there.
add_target() {
    [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ] || { has rustup && rustup target add "$1"; }
}

# Rust, and a C compiler for the crates that have C in them.
if has cargo; then
    wasm=wasm32-wasip2
    add_target $wasm || need "the Rust target $wasm: rustup (https://rustup.rs) installs it, or a package of your system"
else
    need "Rust: https://rustup.rs installs it; rust-toolchain.toml names the version"
fi
has cc || has gcc || has clang || need "a C compiler: apt-get install gcc"
has make || need "make: apt-get install make"

free=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ ! -d "$target" ] && [ "$free" -lt 4000 ]; then
    echo "set-up: $free MB are free on this disk; a first build needs about 4000" >&2
fi

if [ ${#missing[@]} -gt 0 ]; then
    printf 'set-up: missing: %s\n' "${missing[@]}" >&2
    exit 1
fi
[ "$what" = test ] || exit 0

# What some tests need besides. Without it they are skipped, each by its name; QDRANT_BACKUP_SKIP_NOTHING=1 makes it a failure.
skipped=()
skip() { skipped+=("$1"); }
if [ -z "${QDRANT_BACKUP_PYTHON:-}" ]; then
    python=target/python/bin/python
    stamp=target/python/requirements.sum
    sum=$(cat tests/requirements.txt tests/kubernetes/tools.txt | cksum)
    if [ "$(cat $stamp 2>/dev/null)" != "$sum" ]; then
        if ! has python3; then
            skip "the component in a foreign runtime, manifests and chart: apt-get install python3-venv"
        elif ! python3 -m venv target/python >/dev/null 2>&1; then
            skip "the component in a foreign runtime, manifests and chart: apt-get install python3-venv"
        elif ! { $python -m pip install --quiet --disable-pip-version-check --retries 1 --requirement tests/requirements.txt &&
            $python -m pip install --quiet --disable-pip-version-check --retries 1 --no-deps --requirement tests/kubernetes/tools.txt; }; then
            skip "the component in a foreign runtime, manifests and chart: pip could not install tests/requirements.txt"
        else
            echo "$sum" >$stamp
        fi
    fi
fi
static=$(uname -m)-unknown-linux-musl
if ! { has buildah && has runc && has musl-gcc && has busybox; }; then
    skip "pods that run the image: apt-get install buildah busybox-static runc musl-tools"
elif [ "$(id -u)" != 0 ]; then
    skip "pods that run the image: runc needs root"
elif ! add_target "$static"; then
    skip "pods that run the image: rustup target add $static"
fi
if [ ${#skipped[@]} -gt 0 ]; then
    printf 'set-up: these tests will be skipped: %s\n' "${skipped[@]}" | sort -u >&2
fi
