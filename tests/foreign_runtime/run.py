"""Runs the component in the Python package of wasmtime, as a program that knows nothing of our host would.

usage: run.py COMPONENT WORK_DIRECTORY ARGUMENT...
The environment is handed over as it is. Exits with 0 or 1, as `wasi:cli/run` says.
"""

import os
import sys

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker


def main():
    component, directory, *arguments = sys.argv[1:]
    engine = Engine(Config())
    store = Store(engine)
    wasi = WasiConfig()
    wasi.argv = ["qdrant-backup", *arguments]
    wasi.env = list(os.environ.items())
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi.preopen_dir(directory, "/work")
    store.set_wasi(wasi)
    store.set_wasi_http()
    linker = Linker(engine)
    linker.add_wasip2()
    linker.add_wasi_http()
    instance = linker.instantiate(store, Component.from_file(engine, component))
    interface = instance.get_export_index(store, "wasi:cli/run@0.2.12")
    run = instance.get_func(store, instance.get_export_index(store, "run", interface))
    result = run(store)
    run.post_return(store)
    # A result without payloads is None for ok, an exception or a variant for the error, depending on the version.
    sys.exit(0 if result is None or getattr(result, "tag", "ok") == "ok" else 1)


main()
