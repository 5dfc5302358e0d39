// Evaluates MathJSON expressions with Compute Engine: node evaluate.mjs FOLDER < cases.json > values.json
// FOLDER is where `npm install @cortex-js/compute-engine@0.140.0` was run.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join, resolve } from "node:path";

const entry = join(resolve(process.argv[2]), "node_modules/@cortex-js/compute-engine/dist/esm-min/compute-engine.js");
const { ComputeEngine } = await import(pathToFileURL(entry));
const engine = new ComputeEngine();

function valueOf({ expression, inputs }) {
  for (const [name, value] of Object.entries(inputs)) engine.assign(name, value);
  const value = engine.box(expression).N();
  return Number.isFinite(value.re) && !(Math.abs(value.im) > 0) ? value.re : null;
}

process.stdout.write(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(valueOf)));
