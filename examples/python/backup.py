"""Runs a task of the component in Python, shows what happens, and can be stopped by Ctrl-C or SIGTERM.

    pip install wasmtime        # 46 or newer
    python backup.py qdrant-backup.wasm WORK_DIRECTORY backup

The task is `backup`, `restore`, `verify`, `prune`, `drill`, or one of the command line with its arguments. Settings are
taken from the environment. Exits with 0 where all was done, 3 in part, 1 otherwise.
"""

import os
import signal
import sys

from wasmtime import Config, Engine, Store, WasiConfig
from wasmtime.component import Component, Linker, Record, Variant

OPERATIONS = "vectorkeep:qdrant-backup/operations@0.2.0"
VERBS = ("backup", "restore", "verify", "prune", "drill")


class Operations:
    """The component, with one directory and the network. Python's wasmtime has no list of allowed hosts."""

    def __init__(self, component, directory):
        engine = Engine(Config())
        self.store = Store(engine)
        wasi = WasiConfig()
        wasi.preopen_dir(directory, "/work")
        self.store.set_wasi(wasi)
        self.store.set_wasi_http()
        linker = Linker(engine)
        linker.add_wasip2()
        linker.add_wasi_http()
        self.instance = linker.instantiate(self.store, Component.from_file(engine, component))
        self.interface = self.instance.get_export_index(self.store, OPERATIONS)

    def call(self, name, *arguments):
        index = self.instance.get_export_index(self.store, name, self.interface)
        function = self.instance.get_func(self.store, index)
        answer = function(self.store, *arguments)
        function.post_return(self.store)
        return answer


def record(**fields):
    made = Record()
    for name, value in fields.items():
        setattr(made, name.replace("_", "-"), value)
    return made


def show(event):
    it = event.payload
    if event.tag == "collection-begun":
        print(f"{it.collection}: begun, one of {it.total}")
    elif event.tag == "step":
        print(f"{it.collection}: {it.text}")
    elif event.tag == "item-ended":
        outcome = getattr(it.outcome, "tag", it.outcome)
        print(f"{outcome}: {it.kind} {it.collection or ''} {it.name or ''}")
    elif event.tag == "waiting-for":
        print(f"waiting: {it}")
    elif event.tag == "log" and it.level != "info":
        print(f"{it.level}: {it.text}")


def main():
    component, directory, *words = sys.argv[1:]
    operations = Operations(component, directory)
    known = {setting.name for setting in operations.call("info").settings}
    settings = [record(name=name, value=value) for name, value in os.environ.items() if name in known]
    request = record(hosts=[], api_key=None, bucket=None, collections=[], settings=settings, snapshots=None)
    task = Variant(words[0]) if words[0] in VERBS else Variant("command", words)

    asked = []
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, frame: asked.append(number))
    job = operations.call("start", task, request)
    if isinstance(job, Record):
        # Of a result whose two sides have different types Python gets the value without its tag.
        print(f"{job.code}: {job.message}", file=sys.stderr)
        sys.exit(1)
    cancelled = False
    while True:
        for event in operations.call("[method]job.wait", job, 500):
            if event.tag != "finished":
                show(event)
                continue
            if event.payload.tag == "err":
                error = event.payload.payload
                print(f"{error.code}: {error.message}", file=sys.stderr)
                sys.exit(1)
            report = event.payload.payload
            print(f"{report.status}: {len(report.items)} items, {report.milliseconds} ms")
            sys.exit({"done": 0, "partial": 3}.get(report.status, 1))
        if asked and not cancelled:
            cancelled = True
            operations.call("[method]job.cancel", job)


main()
