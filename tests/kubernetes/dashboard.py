"""Reads a Grafana dashboard by Grafana's own model and prints what the model does not know or reads as something else.

usage: dashboard.py FILE
"""

import json
import sys

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(written, read, path):
    """The paths of all that is in `written` and not, or not the same, in `read`."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            yield from lost(value, read[name], f"{path}/{name}") if name in read else [f"{path}/{name}"]
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, (one, other) in enumerate(zip(written, read)):
            yield from lost(one, other, f"{path}/{index}")
    elif written != read:
        yield path


def main():
    plugins.register_default_plugins()
    with open(sys.argv[1], encoding="utf-8") as file:
        written = json.load(file)
    read = json.loads(encoder.JSONEncoder().encode(Dashboard.from_json(written)))
    print("\n".join(lost(written, read, "")))


main()
