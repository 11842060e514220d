"""Runs a task by version 0.1.0 of the contract. usage: run.py COMPONENT WORK_DIRECTORY TASK"""

import os
import sys

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

component, directory, task = sys.argv[1:]
engine = Engine(Config())
store = Store(engine)
wasi = WasiConfig()
wasi.preopen_dir(directory, "/work")
wasi.inherit_stderr()
store.set_wasi(wasi)
store.set_wasi_http()
linker = Linker(engine)
linker.add_wasip2()
linker.add_wasi_http()
instance = linker.instantiate(store, Component.from_file(engine, component))
interface = instance.get_export_index(store, "vectorkeep:qdrant-backup/tasks@0.1.0")
run = instance.get_func(store, instance.get_export_index(store, "run", interface))


def record(**fields):
    made = Record()
    vars(made).update(fields)
    return made


names = [name for name in os.environ if name.isupper() and name != "PATH"]
settings = [record(name=name, value=os.environ[name]) for name in names if not name.startswith(("LC_", "PYTHON"))]
# A variant whose cases have different types comes without its tags: a report, a text, or a list of problems.
answer = run(store, record(task=Variant(task), settings=settings, snapshots=None))
answer = getattr(answer, "payload", answer)
for told in answer if isinstance(answer, list) else [answer]:
    print(getattr(told, "__dict__", told))
sys.exit(0 if getattr(answer, "status", None) == "done" else 1)
