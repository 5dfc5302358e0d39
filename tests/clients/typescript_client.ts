// Calls the service through openapi-fetch with the types that openapi-typescript generates: `node typescript_client.js URL`.
// Expectations come from hand calculation: derivatives of powers, and one step of gradient descent on two rows.

import createClient from "openapi-fetch";
import type { components, paths } from "./service";

declare const process: { argv: string[] };
const client = createClient<paths>({ baseUrl: process.argv[2] });

function equal(found: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`found ${one}, expected ${other}`);
}

// The loss is (2**2 + 4**2)/2 = 10, its derivative by the weight -(2*1 + 4*2) = -10 and by the bias -(2 + 4) = -6.
const oneStep: components["schemas"]["TrainRequest"] = {
  model: { layers: [{ weights: [[0]], biases: [0], activation: "linear" }] },
  data: { inputs: [[1], [2]], targets: [2, 4] },
  loss: "mse",
  optimizer: { name: "sgd", learning_rate: 0.1 },
  steps: 1,
};

async function callText(): Promise<void> {
  const { data } = await client.POST("/v1/backward", { body: { expression: "x**2", inputs: { x: 3 } } });
  equal([data?.value, data?.gradients.x], [9, 6]);
}

async function callGraph(): Promise<void> {
  const nodes = [{ id: "x", op: "value", data: 3 }, { id: "y", op: "mul", args: ["x", 2] }];
  const body = { expression: { nodes, output: "y" } };
  const { data } = await client.POST("/v1/backward", { body });
  equal([data?.value, data?.gradients.x], [6, 2]);
  const drawn = await client.POST("/v1/graph", { body });
  if (typeof drawn.data !== "object") throw new Error("the graph is drawn");  // as text or SVG, if that is asked for
  equal(drawn.data.edges.some((edge) => edge.from === "x" && edge.to === "y"), true);
}

async function callPoints(): Promise<void> {
  const { data } = await client.POST("/v1/backward", { body: { expression: "x**2 + y", inputs: { x: [1, 2], y: 1 } } });
  equal([data?.value, data?.gradients], [[2, 5], { x: [2, 4], y: [1, 1] }]);
}

async function callTrain(): Promise<void> {
  const { data } = await client.POST("/v1/networks/train", { body: oneStep });
  equal([data?.history[0].loss, data?.model.layers[0].weights], [10, [[1]]]);
}

async function callStream(): Promise<void> {
  const { data } = await client.POST("/v1/networks/train/stream", { body: oneStep, parseAs: "text" });
  const events = (data ?? "").trim().split("\n\n").map((event) => event.split("\n").map((line) => line.split(/: (.*)/s)[1]));
  equal(events.map(([name]) => name), ["progress", "result"]);
  const result: components["schemas"]["TrainResponse"] = JSON.parse(events[1][1]);
  equal(result.model.layers[0].weights, [[1]]);
}

async function callDataset(): Promise<void> {
  const params = { path: { name: "moons" as const }, query: { samples: 5 } };
  const { data } = await client.GET("/v1/datasets/{name}", { params });
  equal(Array.isArray(data?.inputs) && data.inputs.map((row) => row.length), [2, 2, 2, 2, 2]);
}

async function callWithAMistake(): Promise<void> {
  const { error, response } = await client.POST("/v1/backward", { body: { expression: "2x" } });
  equal([response.status, error?.type, error?.errors?.[0].pointer], [422, "/problems/syntax-error", "/expression"]);
  equal(error?.detail.endsWith(": 2*x"), true);
}

async function main(): Promise<void> {
  for (const call of [callText, callGraph, callPoints, callTrain, callStream, callDataset, callWithAMistake]) {
    await call();
    console.log(`${call.name} passed`);
  }
}

void main();
