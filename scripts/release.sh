#!/usr/bin/env bash
# The files of a release for this machine's architecture, in dist/release: all that needs no network and no key. The same
# commit gives the same bytes. `.github/workflows/release.yml` runs it on each architecture, and signs and publishes the files.
#
# usage: scripts/release.sh
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
arch=$(uname -m)
name=qdrant-backup-$version
out=dist/release
rm -rf $out && mkdir -p $out

# Packs files or folders, the same bytes each time: plain FOLDER NAME..., pack ARCHIVE FOLDER NAME...
plain() {
    local folder=$1
    shift
    tar --create --directory "$folder" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX "$@"
}
pack() {
    local archive=$1
    shift
    plain "$@" | gzip --no-name --best >"$out/$archive"
}
# What is left out is said at the end.
left=()

echo "== $name for $arch: the static program"
make dist TARGET="$arch-unknown-linux-musl"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/$name"
cp dist/qdrant-backup LICENSE README.md CHANGELOG.md "$work/$name"
pack "$name-$arch-linux.tar.gz" "$work" "$name"

echo "== the component, and the same as an OCI artifact"
cp dist/qdrant-backup.wasm "$out/$name.wasm"
dist/qdrant-backup oci "$work/oci" >/dev/null
pack "$name-component-oci.tar.gz" "$work" oci

echo "== manifests and chart"
pack "$name-k8s.tar.gz" . k8s
pack "$name-chart.tgz" charts qdrant-backup

echo "== the image"
if command -v buildah >/dev/null; then
    make image IMAGE="qdrant-backup:$version"
    buildah push --quiet --format oci "qdrant-backup:$version" "oci:$work/image:qdrant-backup:$version"
    # An OCI archive; buildah's own has the times of its files.
    plain "$work/image" . >"$out/$name-image-$arch.tar"
else
    left+=("the image: buildah is not installed")
fi

echo "== the lists of what is in the program and in the component (SBOM, CycloneDX)"
if cargo cyclonedx --version >/dev/null 2>&1; then
    SOURCE_DATE_EPOCH=0 cargo cyclonedx --quiet --format json --no-build-deps --override-filename sbom
    # Where this folder is says nothing of what is in it.
    sed "s#path+file://$PWD/#path+file:///#g" host/sbom.json >"$out/$name.cdx.json"
    sed "s#path+file://$PWD/#path+file:///#g" guest/component/sbom.json >"$out/$name-component.cdx.json"
    # It makes one for each crate of the workspace.
    find . -name sbom.json -not -path "./target/*" -not -path "./$out/*" -delete
else
    left+=("the SBOM: cargo install --locked cargo-cyclonedx")
fi

# The part of CHANGELOG.md about this version.
awk -v version="$version" '/^## \[/ { on = index($0, "[" version "]") } on && !/^## \[/' CHANGELOG.md >"$out/NOTES.md"
[ -s "$out/NOTES.md" ] || { echo "CHANGELOG.md has nothing about $version" >&2; exit 1; }

(cd $out && sha256sum "$name"* >"SHA256SUMS-$arch")
echo "== done"
(cd $out && ls -l | awk 'NR > 1 { print $5, $9 }' && cat "SHA256SUMS-$arch")
[ ${#left[@]} -eq 0 ] || printf 'left out: %s\n' "${left[@]}" >&2
