// Runs a task by version 0.1.0 of the contract. usage: run.js WORK_DIRECTORY TASK
import { _setPreopens } from "@bytecodealliance/preview2-shim/filesystem";
import { tasks } from "./component/component.js";

const [directory, task] = process.argv.slice(2);
_setPreopens({ "/work": directory });
const names = Object.keys(process.env).filter((name) => name !== "PATH" && name === name.toUpperCase());
const settings = names.map((name) => ({ name, value: process.env[name] }));
try {
  const report = tasks.run({ task: { tag: task }, settings });
  process.exit(report.status === "done" ? 0 : 1);
} catch (error) {
  console.error(JSON.stringify(error.payload ?? String(error)));
  process.exit(1);
}
