// Training in the page: the service trains some steps by its event stream, answers the model and its state, and the page draws what the
// model has learned before it asks for the next steps. The page holds the only copy, so a pause is simply no request.

import { fitted } from "../chart.js";
import { calm, element, fill, show } from "../dom.js";
import { button, field, menu, messages, numberInput, numbers, someOf, table, tellTableError, textInput } from "../form.js";
import { parseTable, TableError } from "../table.js";
import { drawBoundary, drawCurve, drawHistory, drawNetwork, gridOf, legendOf, percent } from "./network_plots.js";

export const title = "Network";
export const stylesheet = "plots.css";
/** micrograd's demonstration of two half moons. */
export const initial = {
  source: "dataset",
  dataset: "moons",
  samples: 100,
  noise: 0.1,
  seed: 1337,
  csv: "",
  layers: [
    { neurons: 16, activation: "relu" },
    { neurons: 16, activation: "relu" },
  ],
  output: "linear",
  init: "uniform",
  modelSeed: 1337,
  loss: "max_margin",
  lossExpression: "(score - target)**2",
  l2: 0.0001,
  optimizer: "sgd",
  rate: "1.0 - 0.9*step/100",
  momentum: 0,
  batch: 0,
  batchSeed: 0,
  steps: 100,
  every: 5,
};

const layers = (activation, ...sizes) => sizes.map((neurons) => ({ neurons, activation }));
const adam = (rate) => ({ optimizer: "adam", rate });

const EXAMPLES = {
  moons: { name: "Two moons (micrograd's demo)", state: initial },
  xor: { name: "Exclusive or", state: { ...initial, dataset: "xor", samples: 4, noise: 0, layers: layers("tanh", 4), ...adam("0.1"), steps: 60, every: 2 } },
  spiral: {
    name: "Two spirals",
    state: { ...initial, dataset: "spiral", samples: 200, noise: 0.05, layers: layers("tanh", 16, 16), ...adam("0.05"), steps: 300, every: 10 },
  },
  digits: {
    name: "Handwritten digits",
    state: { ...initial, dataset: "digits", samples: 500, noise: 0, init: "he", loss: "cross_entropy", ...adam("0.02"), every: 10 },
  },
};
export const lessons = Object.fromEntries(Object.entries(EXAMPLES).map(([key, { state }]) => [key, state]));

const ACTIVATIONS = ["linear", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "sigmoid", "tanh", "sin"];
const LOSSES = [
  ["max_margin", "max_margin (targets −1, 1)"],
  ["binary_cross_entropy", "binary_cross_entropy (0, 1)"],
  ["cross_entropy", "cross_entropy (classes)"],
  ["mse", "mse"],
  ["mae", "mae"],
  ["huber", "huber"],
  ["expression", "an expression of your own"],
];
const FORMATS = [
  ["onnx", "ONNX", "onnx"],
  ["safetensors", "safetensors", "safetensors"],
  ["pytorch", "PyTorch code", "py"],
  ["numpy", "NumPy code", "py"],
  ["c", "C code", "c"],
  ["javascript", "JavaScript code", "js"],
];
const MOST_LAYERS = 8;
const EXAMPLE_TABLE = "x1,x2,target\n0,0,-1\n0,1,1\n1,0,1\n1,1,-1\n";

/** The layers in a state, whatever a link has put there. */
function layersOf(state) {
  return state.layers
    .filter((layer) => layer !== null && typeof layer === "object")
    .slice(0, MOST_LAYERS)
    .map((layer) => ({ neurons: Number(layer.neurons) || 1, activation: String(layer.activation ?? "relu") }));
}

/** The data of a pasted table: the last column is the target. */
function tableData(text) {
  const { names, columns, rows } = parseTable(text);
  if (names.length < 2) throw new TableError(1, "one column is not enough; the last column is the target, those before it are the inputs");
  const features = names.slice(0, -1);
  return {
    inputs: Array.from({ length: rows }, (_, k) => features.map((name) => columns[name][k])),
    targets: columns[names.at(-1)],
    names: features,
  };
}

export function mount(root, context) {
  const { call, stream, change, announce } = context;
  const run = { model: null, first: null, training: null, history: [], data: null, grid: null, scores: null, report: null, parameters: 0 };
  let datasets = [];
  let loading = new AbortController();
  let isRunning = false; // whether more steps are wanted
  let isTraining = false; // whether steps are under way; after a pause, the last ones still are
  let isBusy = false;

  // --- what is on the page

  const area = element("textarea", {
    class: "code",
    rows: "7",
    spellcheck: "false",
    oninput: (event) => set({ csv: event.target.value }),
  });
  area.value = context.state.csv;
  const rate = textInput(context.state.rate, (text) => set({ rate: text }), { class: "code" });
  const ownLoss = textInput(context.state.lossExpression, (text) => set({ lossExpression: text }), { class: "code" });
  const l2 = numberInput(context.state.l2, (number) => set({ l2: number }), { min: "0" });
  const batch = numberInput(context.state.batch, (number) => set({ batch: number }), { min: "0", step: "1" });
  const momentum = numberInput(context.state.momentum, (number) => set({ momentum: number }), { min: "0" });
  const steps = numberInput(context.state.steps, (number) => set({ steps: number }, { keep: true }), { min: "1", step: "1" });
  const wrong = messages([
    ["/optimizer/learning_rate", rate],
    ["/optimizer/momentum", momentum],
    ["/loss/expression", ownLoss],
    ["/l2", l2],
    ["/batch_size", batch],
    ["/steps", steps],
    ["/data", area],
  ]);
  const start = button("Train", () => (isRunning ? pause() : train()), { class: "main", id: "train" });
  const once = button("Step once", () => train(1), { id: "step" });
  const again = button("Reset", () => reset(), { id: "reset" });
  const readout = element("dl", { class: "readout" });
  const boundary = element("div", { class: "plot-holder", id: "boundary" });
  const legend = element("ul", { class: "legend" });
  const history = element("div", { class: "plot-holder", id: "history" });
  const wires = element("div", { class: "plot-holder", id: "wires" });
  const settings = element("div", { class: "panel settings stack" });
  const tables = element("div", {});
  const format = menu(FORMATS.map(([key, text]) => [key, text]), "onnx", () => {}, { id: "format" });

  root.append(
    element("h1", {}, title),
    element("p", { class: "lead" }, "Gradient descent at work: each step is one forward and one backward pass over the data."),
    element(
      "div",
      { class: "columns workbench" },
      element(
        "div",
        { class: "panel stack" },
        element("div", { class: "row" }, start, once, again),
        readout,
        wrong.box,
        element("div", {}, boundary, legend),
        history,
        element("h2", {}, "Weights"),
        wires,
        tables,
        element("div", { class: "row" }, element("label", { for: "format" }, "Format"), format, button("Download the model", download, { id: "download" })),
      ),
      settings,
    ),
  );

  const plots = [
    fitted(boundary, (width) => drawScores(width)),
    fitted(history, (width) => drawHistory(history, width, { history: points(), steps: context.state.steps ?? 1 })),
    fitted(wires, (width) => run.model && drawNetwork(wires, width, { model: run.model, names: run.data.names })),
  ];

  // --- settings

  let later = 0;

  /** Change the state; unless the model may be kept, begin anew a moment later. */
  function set(partial, { keep = false, rebuild = false } = {}) {
    change(partial);
    if (rebuild) showSettings();
    clearTimeout(later);
    if (!keep) later = setTimeout(reset, 350);
    else if (run.model) {
      offerRequest();
      refresh();
    }
  }

  function chooseExample(key) {
    if (!Object.hasOwn(lessons, key)) return;
    area.value = lessons[key].csv;
    set(lessons[key], { rebuild: true });
  }

  function chooseDataset(name) {
    const row = datasets.find((one) => one.name === name);
    const isTwo = row.targets.startsWith("-1");
    set(
      {
        source: "dataset",
        dataset: name,
        samples: row.samples,
        noise: row.noise ?? 0,
        loss: isTwo ? "max_margin" : row.classes ? "cross_entropy" : "mse",
        ...(isTwo ? { optimizer: "sgd", rate: initial.rate, init: "uniform" } : { optimizer: "adam", rate: "0.02", init: "he" }),
      },
      { rebuild: true },
    );
  }

  function chooseSource(value) {
    if (value !== "table") return chooseDataset(value);
    if (!area.value.trim()) area.value = EXAMPLE_TABLE;
    return set({ source: "table", csv: area.value }, { rebuild: true });
  }

  function showSettings() {
    const state = context.state;
    const kept = [[rate, state.rate], [ownLoss, state.lossExpression], [l2, state.l2], [momentum, state.momentum], [batch, state.batch], [steps, state.steps]];
    for (const [input, value] of kept) if (input !== document.activeElement) input.value = value ?? "";
    const focused = document.activeElement?.id;
    const isTable = state.source === "table";
    const row = datasets.find((one) => one.name === state.dataset);
    const sources = [...datasets.map((one) => [one.name, `${one.name} (${one.features} features)`]), ["table", "a table that you paste"]];
    const examples = [["", "Choose an example"], ...Object.entries(EXAMPLES).map(([key, one]) => [key, one.name])];
    fill(
      settings,
      field("Examples", menu(examples, "", chooseExample, { id: "example" })),
      group(
        "Data",
        field("Dataset", menu(sources, isTable ? "table" : state.dataset, chooseSource, { id: "source" }), { wide: true, hint: isTable ? null : row?.description }),
        isTable && field("Table with a header; the last column is the target", area, { wide: true }),
        !isTable && field("Samples", numberInput(state.samples, (number) => set({ samples: number }), { min: "1", step: "1" })),
        !isTable && row?.noise !== null && field("Noise", numberInput(state.noise, (number) => set({ noise: number }), { min: "0" })),
        !isTable && field("Seed of the data", numberInput(state.seed, (number) => set({ seed: number }), { min: "0", step: "1" })),
      ),
      group("Network", layerRows(), field("Output activation", menu(ACTIVATIONS, state.output, (value) => set({ output: value }), { id: "output" })),
        field("First weights", menu(["uniform", "he", "xavier"], state.init, (value) => set({ init: value }), { id: "init" })),
        field("Seed of the weights", numberInput(state.modelSeed, (number) => set({ modelSeed: number }), { min: "0", step: "1" }))),
      group(
        "Training",
        field("Loss", menu(LOSSES, state.loss, (value) => set({ loss: value }, { rebuild: true }), { id: "loss" }), { wide: true }),
        state.loss === "expression" && field("Loss, of score and target", ownLoss, { wide: true }),
        field("Learning rate, a number or a formula of step", rate, { wide: true }),
        field("Optimizer", menu(["sgd", "adam", "adamw", "rmsprop"], state.optimizer, (value) => set({ optimizer: value }, { rebuild: true }), { id: "optimizer" })),
        ["sgd", "rmsprop"].includes(state.optimizer) && field("Momentum", momentum),
        field("L2", l2),
        field("Batch size (0: all rows)", batch),
        field("Seed of the batches", numberInput(state.batchSeed, (number) => set({ batchSeed: number }), { min: "0", step: "1" })),
        field("Steps", steps),
        field("Draw every … steps", numberInput(state.every, (number) => set({ every: number }, { keep: true }), { min: "1", step: "1" })),
      ),
    );
    if (focused) document.getElementById(focused)?.focus();
  }

  const group = (name, ...children) => element("fieldset", { class: "fields" }, element("legend", {}, name), children);

  function layerRows() {
    const layers = layersOf(context.state);
    const put = (k, partial) => set({ layers: layersOf(context.state).map((layer, j) => (j === k ? { ...layer, ...partial } : layer)) });
    const rows = layers.map((layer, k) =>
      element(
        "div",
        { class: "layer" },
        field(`Layer ${k + 1}: neurons`, numberInput(layer.neurons, (number) => put(k, { neurons: number ?? 0 }), { min: "1", max: "64", step: "1", id: `neurons-${k}` })),
        field("Activation", menu(ACTIVATIONS, layer.activation, (value) => put(k, { activation: value }), { id: `activation-${k}` })),
        button("×", () => set({ layers: layersOf(context.state).filter((_, j) => j !== k) }, { rebuild: true }), { "aria-label": `Remove layer ${k + 1}`, class: "small" }),
      ),
    );
    const add = button("Add a layer", () => set({ layers: [...layersOf(context.state), { neurons: 8, activation: layers.at(-1)?.activation ?? "relu" }] }, { rebuild: true }), {
      id: "add-layer",
      disabled: layers.length >= MOST_LAYERS,
    });
    return element("div", { class: "wide" }, rows, add);
  }

  // --- requests

  function dataPart() {
    const { source, dataset, samples, noise, seed } = context.state;
    if (source === "table") return { inputs: run.data.inputs, targets: run.data.targets };
    const isDrawn = datasets.find((row) => row.name === dataset)?.noise !== null;
    return { dataset, samples, ...(isDrawn ? { noise } : {}), seed };
  }

  function outputs() {
    const { loss } = context.state;
    return loss === "cross_entropy" ? Math.max(2, run.data.classes ?? 0, ...run.data.targets.map((target) => Math.floor(target) + 1)) : 1;
  }

  function spec() {
    const layers = layersOf(context.state);
    return {
      inputs: run.data.inputs[0].length,
      layers: [...layers.map((layer) => layer.neurons), outputs()],
      activation: layers[0]?.activation ?? "relu",
      output_activation: context.state.output,
      init: context.state.init,
      seed: context.state.modelSeed,
    };
  }

  function trainingRequest(model, count, training) {
    const { loss, lossExpression, l2: weight, optimizer, rate: text, momentum: mass, batch: rows, batchSeed } = context.state;
    const number = Number(text);
    const isNumber = text.trim() !== "" && Number.isFinite(number);
    return {
      model,
      data: dataPart(),
      loss: loss === "expression" ? { expression: lossExpression } : loss,
      l2: weight ?? 0,
      optimizer: { name: optimizer, learning_rate: isNumber ? number : text, ...(mass && ["sgd", "rmsprop"].includes(optimizer) ? { momentum: mass } : {}) },
      steps: count,
      ...(rows ? { batch_size: rows, seed: batchSeed ?? 0 } : {}),
      ...(training ? { state: training } : {}),
    };
  }

  async function loadData(signal) {
    const { source, dataset, samples, noise, seed, csv } = context.state;
    if (source === "table") return tableData(csv);
    const row = datasets.find((one) => one.name === dataset);
    if (!row) throw new Error(`There is no dataset ${dataset}; choose one of the menu.`);
    const query = new URLSearchParams({ seed: seed ?? 0, ...(samples ? { samples } : {}), ...(row.noise !== null && noise !== null ? { noise } : {}) });
    const found = await call(`/v1/datasets/${dataset}?${query}`, undefined, { signal });
    return { ...found, names: found.inputs[0].map((_, k) => `input ${k}`) };
  }

  /** Forget the training: load the data, make the first model and show it. */
  async function reset() {
    clearTimeout(later);
    loading.abort();
    loading = new AbortController();
    const { signal } = loading;
    isRunning = isTraining = false;
    isBusy = true;
    refresh();
    try {
      run.data = await loadData(signal);
      const { layers } = context.state;
      if (layersOf(context.state).length !== layers.length) change({ layers: layersOf(context.state) });
      const made = await call("/v1/networks", spec(), { signal });
      const activations = [...layersOf(context.state).map((layer) => layer.activation), context.state.output];
      made.model.layers.forEach((layer, k) => (layer.activation = activations[k]));
      run.first = made.model;
      Object.assign(run, { model: made.model, parameters: made.parameters, training: null, history: [], grid: gridOf(run.data.inputs) });
      offerRequest();
      await evaluate(signal);
      wrong.clear();
    } catch (error) {
      if (error.name === "AbortError") return;
      run.model = null;
      complain(error);
    }
    isBusy = false;
    refresh();
  }

  /** The whole training as one request: of a spec, unless the layers have activations of their own. */
  function offerRequest() {
    const hidden = layersOf(context.state).map((layer) => layer.activation);
    const model = hidden.every((name) => name === hidden[0]) ? spec() : run.first;
    context.snippets("/v1/networks/train", trainingRequest(model, context.state.steps ?? 1));
  }

  function complain(error) {
    if (error instanceof TableError) tellTableError(wrong, error, area);
    else wrong.tell(error);
  }

  /** What the model does now: loss and accuracy on all rows, and its scores on the grid. */
  async function evaluate(signal) {
    const { data, loss, l2: weight } = trainingRequest(run.model, 1);
    const [report, predicted] = await Promise.all([
      call("/v1/networks/backward", { model: run.model, data, loss, l2: weight }, { signal }),
      run.grid && call("/v1/networks/predict", { model: run.model, inputs: run.grid.inputs }, { signal }),
    ]);
    run.report = report;
    run.scores = predicted?.outputs ?? null;
  }

  const done = () => run.training?.step ?? 0;
  const left = () => Math.max(0, (context.state.steps ?? 0) - done());

  /** Train until all steps are done, or somebody pauses; or so many steps. */
  async function train(count = Infinity) {
    if (isTraining || !run.model) return;
    const { signal } = loading;
    isRunning = isTraining = true;
    wrong.clear();
    refresh();
    if (count !== 1) announce("Training");
    const end = done() + Math.min(count, left());
    try {
      while (isRunning && done() < end) {
        const answer = await chunkOf(Math.min(stepsAtOnce(), end - done()), signal);
        run.model = answer.model;
        run.training = answer.state;
        run.history.push(...answer.history);
        await evaluate(signal);
        refresh();
        if (answer.stopped === "non-finite") throw new Error(`The training stopped: ${answer.detail ?? "a number is not finite"}. Take a smaller learning rate.`);
      }
      announce(`Step ${done()}, loss ${show(run.report.loss)}${run.report.accuracy === undefined ? "" : `, accuracy ${percent(run.report.accuracy)}`}`);
    } catch (error) {
      if (error.name === "AbortError") return;
      complain(error);
    }
    isRunning = isTraining = false;
    refresh();
  }

  /** How many steps pass between two pictures: many for those who asked for less motion. */
  function stepsAtOnce() {
    const every = Math.max(1, Math.round(context.state.every ?? 1));
    return calm() ? Math.max(every, Math.ceil((context.state.steps ?? 1) / 4)) : every;
  }

  async function chunkOf(count, signal) {
    let answer = null;
    const watch = (name, row) => {
      if (name === "result") answer = row;
      else if (name === "progress") showReadout(row);
    };
    await stream("/v1/networks/train/stream", trainingRequest(run.model, count, run.training), watch, { signal });
    if (!answer) throw new Error("The stream ended without a result. Train again to go on.");
    return answer;
  }

  function pause() {
    isRunning = false; // the loop ends after the steps that are under way
    announce("Paused");
    refresh();
  }

  async function download() {
    const [key, , suffix] = FORMATS.find(([name]) => name === format.value);
    try {
      const found = await call("/v1/networks/export", { model: run.model, format: key }, { accept: "*/*" });
      const url = URL.createObjectURL(found instanceof Blob ? found : new Blob([found]));
      element("a", { href: url, download: `network.${suffix}` }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (error) {
      complain(error);
    }
  }

  // --- drawing

  /** The rows of the history, and what holds after the last step. */
  function points() {
    if (!run.model || !run.report) return [];
    return [...run.history, { step: done(), loss: run.report.loss, accuracy: run.report.accuracy }];
  }

  function showReadout(row) {
    const now = row ?? { step: done(), ...run.report };
    const parts = [
      ["Step", `${now.step} of ${context.state.steps ?? "?"}`, "step-now"],
      ["Loss", show(now.loss), "loss-now"],
      now.accuracy !== undefined && ["Accuracy", percent(now.accuracy), "accuracy-now"],
      ["Parameters", run.parameters.toLocaleString("en"), "parameters-now"],
    ];
    fill(readout, parts.filter(Boolean).map(([name, text, id]) => element("div", {}, element("dt", {}, name), element("dd", { id }, text))));
  }

  function drawScores(width) {
    if (!run.model || !run.report) return;
    if (!run.scores) {
      fill(legend);
      fill(boundary, element("p", { class: "note" }, `With ${run.data.names.length} inputs there is no picture of the boundary.`));
      return;
    }
    const share = run.report.accuracy === undefined ? "" : ` ${percent(run.report.accuracy)} of the points are on the right side.`;
    const given = { grid: run.grid, scores: run.scores, data: run.data, names: run.data.names, caption: `After ${done()} steps.${share}` };
    (run.grid.ys ? drawBoundary : drawCurve)(boundary, width, given);
    fill(legend, legendOf(given));
  }

  function refresh() {
    const isDone = run.model !== null && left() === 0;
    start.textContent = isRunning ? "Pause" : isDone ? "Trained" : done() ? "Resume" : "Train";
    start.disabled = isBusy || (!isRunning && (isTraining || isDone || !run.model));
    once.disabled = isBusy || isTraining || isDone || !run.model;
    root.dataset.phase = isBusy ? "loading" : isTraining ? "running" : isDone ? "done" : "waiting";
    const isShown = run.model !== null && run.report !== null && !isBusy;
    readout.hidden = !isShown;
    if (isShown) showReadout();
    for (const plot of plots) plot.redraw();
    if (!isRunning) showTables();
  }

  function showTables() {
    const rows = points();
    if (!rows.length) return;
    const head = ["step", "loss", ...(rows[0].accuracy === undefined ? [] : ["accuracy"])];
    const cells = someOf(rows).map((row) => [row.step, row.loss, ...(row.accuracy === undefined ? [] : [row.accuracy])]);
    fill(tables, numbers("The history in numbers", table("Loss and accuracy by step", head, cells)));
  }

  (async () => {
    try {
      datasets = (await call("/v1/datasets", undefined, { signal: loading.signal })).datasets;
    } catch (error) {
      if (error.name !== "AbortError") complain(error);
      return;
    }
    showSettings();
    await reset();
  })();

  return {
    unmount() {
      clearTimeout(later);
      isRunning = false;
      loading.abort();
      for (const plot of plots) plot.stop();
    },
  };
}
