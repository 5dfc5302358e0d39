// What the view Network draws: the decision boundary or the curve, the history, and the network itself.

import { colour, extent, frame, line, marker, padded, paintGrid, shape, zeroLine } from "../chart.js";
import { element, fill, show } from "../dom.js";

export const GRID = 60; // points of the grid in each direction
const KINDS = 8; // colours of classes; more share them
const MOST_POINTS = 2000;
const MOST_WIRES = 1500;
const LOG_RATIO = 100; // losses are drawn on a logarithmic scale where the largest is so many times the smallest

export const percent = (share) => `${show(100 * share, 4)} %`;

/** The grid of inputs that covers the data of two features, or of one: `{ xs, ys, inputs }`. null for more features. */
export function gridOf(inputs) {
  const features = inputs[0].length;
  if (features > 2) return null;
  const along = (k, count) => {
    const [low, high] = padded(extent(inputs.map((row) => row[k])), 0.18);
    return Array.from({ length: count }, (_, j) => Number((low + ((high - low) * j) / (count - 1)).toPrecision(7)));
  };
  if (features === 1) {
    const xs = along(0, 200);
    return { xs, ys: null, inputs: xs.map((x) => [x]) };
  }
  const [xs, ys] = [along(0, GRID), along(1, GRID)];
  return { xs, ys, inputs: ys.flatMap((y) => xs.map((x) => [x, y])) };
}

/** The kind of each row, for its colour and its outline: 0 below and 1 above, or the class. */
export function kindsOf(targets) {
  const values = [...new Set(targets)].sort((a, b) => a - b);
  if (values.length <= 2) return targets.map((target) => (values.length === 2 ? values.indexOf(target) : Number(target > 0)));
  if (values.every((value) => Number.isInteger(value) && value >= 0)) return targets.map((target) => target % KINDS);
  return null; // numbers, not classes
}

const mixed = (ground, ink, part) => ground.map((level, k) => Math.round(level + (ink[k] - level) * part));

/** The regions of the scores, the boundary between them and the data, in a holder. */
export function drawBoundary(holder, width, { grid, scores, data, caption, names }) {
  const height = Math.round(Math.min(Math.max(width * 0.75, 260), 460));
  const [xs, ys] = [grid.xs, grid.ys];
  const plot = frame({
    width,
    height,
    title: "Decision boundary",
    description: caption,
    x: { domain: [xs[0], xs.at(-1)], label: names[0] },
    y: { domain: [ys[0], ys.at(-1)], label: names[1] },
  });
  const canvas = element("canvas", { class: "heat", "aria-hidden": "true" });
  const ground = colour("--plot-ground");
  const inks = Array.from({ length: KINDS }, (_, k) => colour(`--plot-${k}`));
  const column = (c) => plot.area.left + ((plot.area.right - plot.area.left) * c) / (GRID - 1);
  const row = (r) => plot.area.bottom - ((plot.area.bottom - plot.area.top) * r) / (GRID - 1);
  let lines;
  if (scores[0].length === 1) {
    const values = scores.map((score) => score[0]);
    const largest = Math.max(...values.map(Math.abs)) || 1;
    paintGrid(canvas, GRID, GRID, (k) => mixed(ground, inks[values[k] > 0 ? 1 : 0], 0.12 + 0.5 * Math.sqrt(Math.abs(values[k]) / largest)));
    lines = [zeroLine(values, GRID, GRID, column, row)];
  } else {
    const best = scores.map((score) => score.indexOf(Math.max(...score)));
    paintGrid(canvas, GRID, GRID, (k) => mixed(ground, inks[best[k] % KINDS], 0.35));
    lines = [...new Set(best)].map((k) =>
      zeroLine(scores.map((score) => score[k] - Math.max(...score.filter((_, j) => j !== k))), GRID, GRID, column, row),
    );
  }
  const edges = { left: plot.area.left, top: plot.area.top, width: plot.area.right - plot.area.left, height: plot.area.bottom - plot.area.top };
  for (const [name, value] of Object.entries(edges)) canvas.style.setProperty(name, `${value}px`);
  plot.marks.append(...lines.map((d) => shape("path", { class: "boundary", d })));
  const kinds = kindsOf(data.targets);
  data.inputs.slice(0, MOST_POINTS).forEach(([x, y], k) => {
    const kind = kinds ? kinds[k] : 1;
    plot.marks.append(marker(plot.X(x), plot.Y(y), kind, { class: `point kind-${kind}` }));
  });
  fill(holder, canvas, plot.root);
}

/** The entries of the legend below the boundary or the curve. */
export function legendOf({ grid, scores, data }) {
  const swatch = (part) => shape("svg", { class: "plot", width: 18, height: 16, viewBox: "-9 -8 18 16", "aria-hidden": "true" }, part);
  const entry = (part, text) => element("li", {}, swatch(part), text);
  if (!grid.ys) return [entry(marker(0, 0, 1, { class: "point kind-1" }), "target"), entry(line([[-9, 0], [9, 0]], { class: "curve" }), "score")];
  const kinds = kindsOf(data.targets);
  const classes = new Map((kinds ?? []).map((kind, k) => [data.targets[k], kind]));
  const points = [...classes].sort(([a], [b]) => a - b).map(([target, kind]) => entry(marker(0, 0, kind, { class: `point kind-${kind}` }), `target ${show(target)}`));
  return [...points, entry(line([[-9, 0], [9, 0]], { class: "boundary" }), scores[0].length === 1 ? "score 0" : "between two classes")];
}

/** With one feature: the data and the score as a curve. */
export function drawCurve(holder, width, { grid, scores, data, caption, names }) {
  const values = scores.map((score) => score[0]);
  const plot = frame({
    width,
    height: Math.round(Math.min(Math.max(width * 0.7, 240), 420)),
    title: "Score by input",
    description: caption,
    x: { domain: [grid.xs[0], grid.xs.at(-1)], label: names[0] },
    y: { domain: padded(extent(values, data.targets)), label: "score and target" },
  });
  data.inputs.slice(0, MOST_POINTS).forEach(([x], k) => plot.marks.append(marker(plot.X(x), plot.Y(data.targets[k]), 1, { class: "point kind-1" })));
  plot.marks.append(line(values.map((value, k) => [plot.X(grid.xs[k]), plot.Y(value)]), { class: "curve" }));
  fill(holder, plot.root);
}

/** The loss by step and, below it, the accuracy where there is one. */
export function drawHistory(holder, width, { history, steps }) {
  const losses = history.map((row) => row.loss);
  const [low, high] = extent(losses);
  const log = low > 0 && high > LOG_RATIO * low;
  const hasAccuracy = history.some((row) => row.accuracy !== undefined);
  const domain = [0, Math.max(steps, history.at(-1)?.step ?? 0, 1)];
  const last = history.at(-1);
  const x = { domain, label: "step" };
  const top = frame({
    width,
    height: hasAccuracy ? 190 : 270,
    title: "Loss by step",
    description: last ? `The loss went from ${show(losses[0])} to ${show(last.loss)} at step ${last.step}.` : "No step yet.",
    x: { ...x, hideTicks: hasAccuracy },
    y: { domain: log ? [low * 0.8, high * 1.25] : [Math.min(0, low), high * 1.05 || 1], label: log ? "loss (log)" : "loss", log },
  });
  top.marks.append(line(history.map((row) => [top.X(row.step), top.Y(row.loss)]), { class: "curve" }));
  if (last) top.marks.append(marker(top.X(last.step), top.Y(last.loss), 1, { class: "point now" }, 4));
  if (!hasAccuracy) return fill(holder, top.root);
  const worst = Math.min(0.5, ...history.map((row) => row.accuracy ?? 1));
  const bottom = frame({
    width,
    height: 140,
    title: "Accuracy by step",
    description: last ? `The accuracy went from ${percent(history[0].accuracy)} to ${percent(last.accuracy)}.` : "No step yet.",
    x,
    y: { domain: [Math.floor(worst * 10) * 10, 100], label: "accuracy %" },
  });
  bottom.marks.append(line(history.map((row) => [bottom.X(row.step), bottom.Y(100 * row.accuracy)]), { class: "curve second" }));
  if (last) bottom.marks.append(marker(bottom.X(last.step), bottom.Y(100 * last.accuracy), 1, { class: "point now" }, 4));
  return fill(holder, top.root, bottom.root);
}

/** The network: one circle per neuron, one line per weight; its width is the size of the weight and its colour the sign. */
export function drawNetwork(holder, width, { model, names }) {
  const sizes = [names.length, ...model.layers.map((layer) => layer.biases.length)];
  const wires = model.layers.reduce((sum, layer, k) => sum + sizes[k] * layer.biases.length, 0);
  if (wires > MOST_WIRES || Math.max(...sizes) > 40) {
    return fill(holder, element("p", { class: "note" }, `A network of ${wires.toLocaleString("en")} weights is too large to be drawn.`));
  }
  const height = Math.min(Math.max(...sizes) * 17 + 40, 420);
  const [left, right] = [70, 44];
  const x = (layer) => left + ((width - left - right) * layer) / model.layers.length;
  const y = (layer, k) => 12 + ((height - 40) * (k + 0.5)) / sizes[layer];
  const largest = Math.max(...model.layers.flatMap((layer) => layer.weights.flatMap((weights) => weights.map(Math.abs)))) || 1;
  const root = shape(
    "svg",
    { class: "plot wires", role: "img", width, height, viewBox: `0 0 ${width} ${height}`, "aria-labelledby": "wires-title wires-desc" },
    shape("title", { id: "wires-title" }, "The network"),
    shape("desc", { id: "wires-desc" }, `Layers of ${sizes.join(", ")} neurons. The largest weight is ${show(largest, 4)} in size.`),
    model.layers.map((layer, k) =>
      layer.weights.map((weights, to) =>
        weights.map((weight, from) => {
          const part = Math.abs(weight) / largest;
          return shape("line", {
            class: weight < 0 ? "wire negative" : "wire positive",
            x1: x(k),
            y1: y(k, from),
            x2: x(k + 1),
            y2: y(k + 1, to),
            "stroke-width": (0.25 + 3.2 * part).toFixed(2),
            "stroke-opacity": (0.15 + 0.75 * part).toFixed(2),
          });
        }),
      ),
    ),
    sizes.map((size, k) => Array.from({ length: size }, (_, j) => shape("circle", { class: "neuron", cx: x(k), cy: y(k, j), r: Math.min(6, (height - 40) / size / 2.4) }))),
    names.map((name, k) => shape("text", { x: x(0) - 11, y: y(0, k) + 4, "text-anchor": "end" }, name.length > 8 ? `${name.slice(0, 7)}…` : name)),
    model.layers.map((layer, k) => shape("text", { x: x(k + 1), y: height - 8, "text-anchor": "middle" }, layer.activation)),
  );
  return fill(holder, root, element("p", { class: "note" }, "The width of a line is the size of the weight; blue is positive, orange is negative."));
}

