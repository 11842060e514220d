"""Unpacks kubectl and helm out of the packages of tests/kubernetes/tools.txt, once, and prints where each version is.

They are made for a cloud's functions: a wheel with an npm archive with `layer.zip`, and in it `kubectl/kubectl` and
`helm/helm`.

usage: tools.py
"""

import io
import os
import pathlib
import sys
import tarfile
import tempfile
import zipfile

import aws_cdk


def unpacked(package, folder):
    (archive,) = (package / "_jsii").glob("*.tgz")
    with tarfile.open(archive) as npm:
        member = next(member for member in npm.getmembers() if member.name.endswith("/layer.zip"))
        layer = zipfile.ZipFile(io.BytesIO(npm.extractfile(member).read()))
    scratch = tempfile.mkdtemp(dir=folder.parent)
    for name in ("kubectl", "helm"):
        file = pathlib.Path(scratch, name)
        file.write_bytes(layer.read(f"{name}/{name}"))
        file.chmod(0o755)
    os.rename(scratch, folder)


def main():
    packages = [
        package
        for root in aws_cdk.__path__
        for package in sorted(pathlib.Path(root).glob("lambda_layer_kubectl_v*"))
    ]
    for package in packages:
        folder = pathlib.Path(sys.prefix, "kubernetes-tools", package.name.rsplit("_", 1)[-1])
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            unpacked(package, folder)
        print(folder)


main()
