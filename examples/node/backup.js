// Runs a task of the component in Node, shows what happens, and can be stopped by Ctrl-C or SIGTERM.
//
//     npm install && COMPONENT=qdrant-backup.wasm npm run build
//     node backup.js WORK_DIRECTORY backup
//
// The task is `backup`, `restore`, `verify`, `prune`, `drill`, or one of the command line with its arguments. Settings
// are taken from the environment. Exits with 0 where all was done, 3 in part, 1 otherwise.

import { setImmediate } from "node:timers/promises";
import { _setPreopens } from "@bytecodealliance/preview2-shim/filesystem";
import { operations } from "./component/component.js";

const VERBS = ["backup", "restore", "verify", "prune", "drill"];

function show({ tag, val: it }) {
  if (tag === "collection-begun") console.log(`${it.collection}: begun, one of ${it.total}`);
  else if (tag === "step") console.log(`${it.collection}: ${it.text}`);
  else if (tag === "item-ended") console.log(`${it.outcome.tag}: ${it.kind} ${it.collection ?? ""} ${it.name ?? ""}`);
  else if (tag === "waiting-for") console.log(`waiting: ${it}`);
  else if (tag === "log" && it.level !== "info") console.log(`${it.level}: ${it.text}`);
}

const [directory, ...words] = process.argv.slice(2);
// One directory. The shim gives the network without a list of allowed hosts.
_setPreopens({ "/work": directory });
const settings = operations
  .info()
  .settings.filter(({ name }) => process.env[name])
  .map(({ name }) => ({ name, value: process.env[name] }));
const request = { hosts: [], collections: [], settings };
const task = VERBS.includes(words[0]) ? { tag: words[0] } : { tag: "command", val: words };

let asked = false;
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => (asked = true));

const job = operations.start(task, request);
let cancelled = false;
let finished;
while (!finished) {
  for (const event of job.wait(500)) {
    if (event.tag === "finished") finished = event.val;
    else show(event);
  }
  // Calls of the component are synchronous: signals are seen between them.
  await setImmediate();
  if (asked && !cancelled) {
    cancelled = true;
    job.cancel();
  }
}
if (finished.tag === "err") {
  console.error(`${finished.val.code}: ${finished.val.message}`);
  process.exit(1);
}
const { status, items, milliseconds } = finished.val;
console.log(`${status}: ${items.length} items, ${milliseconds} ms`);
process.exit({ done: 0, partial: 3 }[status] ?? 1);
