"""Validates manifests strictly against Kubernetes' own schemas and prints them as one JSON array.

usage: validate.py VERSION[,VERSION...] FILE...
"""

import json
import sys

import kubernetes_validate
import yaml

# Kinds of the Prometheus operator: not Kubernetes' own.
WITHOUT_SCHEMA = ("monitoring.coreos.com/v1",)


def main():
    versions, *files = sys.argv[1:]
    manifests = []
    for file in files:
        with open(file, encoding="utf-8") as text:
            documents = [document for document in yaml.safe_load_all(text) if document]
        for document in documents:
            known = document["apiVersion"] not in WITHOUT_SCHEMA
            for version in versions.split(",") if known else ():
                kubernetes_validate.validate(document, version, strict=True)
            manifests.append({"file": file.rsplit("/", 1)[-1], "manifest": document})
    json.dump(manifests, sys.stdout)


main()
