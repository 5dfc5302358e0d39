// The forward and the backward pass of an expression, one step at a time, on its graph.

import { calm, debounced, fill, imported, show } from "../dom.js";
import { editor, sourceOf } from "../editor.js";
import { rowOf, sliders, valuesOf } from "../inputs.js";
import { stepsOf } from "../steps.js";

export const title = "Backward, step by step";
export const stylesheet = "backward.css";

const MICROGRAD = `c1 = a + b
d1 = a*b + b**3
c2 = c1 + c1 + 1
c3 = c2 + 1 + c2 - a
d2 = d1 + d1*2 + relu(b + a)
d3 = d2 + 3*d2 + relu(b - a)
h = c3 - d3
f = h**2
g = f/2 + 10/f`;

const EXAMPLES = {
  order: {
    name: "Why order matters",
    expression: "b = a + a\nc = b * b",
    inputs: { a: [3, -5, 5] },
    note: "b is used twice, so two contributions reach it. Only when both are added may b pass its gradient on to a: whoever passes on the first one at once gets 12 at a and not 24.",
  },
  micrograd: {
    name: "micrograd’s README",
    expression: MICROGRAD,
    inputs: { a: [-4, -10, 10], b: [2, -10, 10] },
    note: "The expression with which micrograd introduces itself, with a name for each assignment. At the end the gradient of a is 138.8338, and that of b is 645.5773.",
  },
  neuron: {
    name: "A neuron",
    expression: "n = x1*w1 + x2*w2 + b\no = tanh(n)",
    inputs: { x1: [2, -5, 5], w1: [-3, -5, 5], x2: [0, -5, 5], w2: [1, -5, 5], b: [6.88137358, -10, 10] },
    note: "A weight whose input is 0 gets the gradient 0: it did not matter. The inputs get gradients too, for the layer before.",
  },
  chain: {
    name: "The chain rule",
    expression: "u = x**2\nv = sin(u)\ny = exp(v)",
    inputs: { x: [1.2, -3, 3] },
    note: "In a chain, the gradient is the product of the local derivatives, multiplied from the end.",
  },
  dead: {
    name: "A relu that is off",
    expression: "z = w*x + b\nr = relu(z)\nl = (r - y)**2",
    inputs: { w: [1, -5, 5], x: [-2, -5, 5], b: [0.5, -5, 5], y: [1, -5, 5] },
    note: "z is negative, so relu is flat there and passes nothing back: w and b cannot learn from this sample. Raise b above 2 and watch.",
  },
  softmax: {
    name: "Softmax cross-entropy",
    expression: "l = logsumexp(a, b, c) - a",
    inputs: { a: [1, -5, 5], b: [2, -5, 5], c: [0.5, -5, 5] },
    note: "The gradients are the probabilities, less 1 at the class that is right. They add up to 0.",
  },
};

export const lessons = Object.fromEntries(
  Object.entries(EXAMPLES).map(([id, { expression, inputs }]) => [id, { expression, inputs, step: 0 }]),
);

export const initial = lessons.order;

const DIGITS = 7;
const LEGIBLE = 0.7; // how far a drawing may shrink
const PACE = 1100; // milliseconds for a step while it plays
const TAGS = new Set("svg g path rect text title".split(" "));
const ATTRIBUTES = new Set(
  "width height viewBox role aria-labelledby font-family font-size fill id class x y rx d stroke stroke-width text-anchor data-id data-from data-to data-operation data-argument font-weight stroke-linejoin paint-order".split(" "),
);

export function mount(root, context) {
  const { element } = context;
  let rows = new Map();
  let graph = null; // the answer of /v1/graph
  let steps = [];
  let texts = []; // by node: { data, grad }, the elements of the drawing, and what they say at the end
  let asked = new AbortController();
  let timer = 0;
  let targets = []; // by edge: the node that it leads to
  let width = 0; // of the drawing, in pixels

  const field = editor({
    id: "expression",
    label: "Formula",
    help: "Any expression of up to some dozen operations. Give a name to what you want to follow.",
    rows: 5,
    onInput: (expression) => (context.change({ expression, step: 0 }), readSoon()),
  });
  const inputs = sliders("input", (name, row) => {
    rows.set(name, row);
    context.change({ inputs: Object.fromEntries(rows) });
    drawSoon();
  });
  const examples = element(
    "select",
    { id: "examples", onchange: () => choose(examples.value) },
    element("option", { value: "" }, "Examples …"),
    Object.entries(EXAMPLES).map(([id, { name }]) => element("option", { value: id }, name)),
  );
  const note = element("p", { class: "lead lesson" });
  const picture = element("div", { class: "drawing", tabindex: "0", role: "group", "aria-label": "Graph of the expression; arrow keys step through it" });
  const phase = element("span", { class: "phase" });
  const count = element("span", { class: "number" });
  const now = element("div", { class: "now", id: "now" });
  const slider = element("input", { type: "range", id: "step", min: 0, max: 0, step: 1, value: 0, "aria-label": "Step" });
  const list = element("ol", { class: "steps", id: "steps", start: 0 });
  const button = (id, label, symbol, action) => element("button", { type: "button", id, "aria-label": label, title: label, onclick: action }, element("span", { "aria-hidden": "true" }, symbol));
  const buttons = [
    button("first", "First step", "⇤", () => go(0)),
    button("back", "One step back", "←", () => go(step() - 1)),
    button("forward", "One step forward", "→", () => go(step() + 1)),
    button("last", "Last step", "⇥", () => go(steps.length - 1)),
  ];
  const play = element("button", { type: "button", id: "play", onclick: () => (timer ? pause() : start()) }, "Play");
  const whole = element("input", { type: "checkbox", id: "whole", onchange: () => fit() });
  const fitting = element("div", { class: "row fit" }, whole, element("label", { for: "whole" }, "Fit the graph to the width"));

  const player = element(
    "section",
    { class: "panel player", "aria-label": "Step through the passes" },
    element("div", { class: "row controls" }, buttons, !calm() && play, slider, element("span", { class: "row" }, count)),
    now,
    fitting,
    picture,
  );

  root.append(
    element("h1", {}, title),
    element("p", { class: "lead" }, "First the values, from the inputs to the output. Then the gradients, from the output back: each edge carries its local derivative times what arrived."),
    element("div", { class: "stack" }, player, note),
    element(
      "div",
      { class: "columns under" },
      element("section", { class: "panel", "aria-labelledby": "steps-title" }, element("h2", { id: "steps-title" }, "All steps"), list),
      element(
        "div",
        { class: "stack" },
        element(
          "section",
          { class: "panel", "aria-labelledby": "formula-title" },
          element("div", { class: "row between" }, element("h2", { id: "formula-title" }, "Formula"), element("label", { class: "unseen", for: "examples" }, "Examples"), examples),
          field.element,
        ),
        element("section", { class: "panel", "aria-labelledby": "inputs-title" }, element("h2", { id: "inputs-title" }, "Inputs"), inputs.element),
      ),
    ),
  );

  // --- the graph

  const readSoon = debounced(300, read);
  const drawSoon = debounced(120, () => draw().catch(report));

  function report(error) {
    if (error.name === "AbortError") return;
    pause();
    field.fault(error);
    player.classList.add("stale");
    context.snippets(null);
  }

  function renew() {
    readSoon.cancel();
    drawSoon.cancel();
    asked.abort();
    asked = new AbortController();
    return asked.signal;
  }

  let source = null;

  /** The expression has changed: ask which inputs it has, then draw it. */
  async function read() {
    const signal = renew();
    try {
      source = sourceOf(context.state.expression);
      const { graph: parsed } = await context.call("/v1/parse", { expression: source }, { signal });
      const given = context.state.inputs;
      const before = rows;
      rows = new Map();
      for (const node of parsed.nodes) {
        if (node.op === "value" && (typeof source !== "string" || !("data" in node))) {
          rows.set(node.id, rowOf((Object.hasOwn(given, node.id) ? given[node.id] : null) ?? before.get(node.id), node.data ?? 1));
        }
      }
      inputs.draw(rows);
      await draw();
    } catch (error) {
      report(error);
    }
  }

  async function draw() {
    const signal = renew();
    const body = { expression: source, inputs: valuesOf(rows) };
    const [answer, drawing] = await Promise.all([
      context.call("/v1/graph", body, { signal }),
      context.call("/v1/graph", body, { signal, accept: "image/svg+xml" }),
    ]);
    const svg = imported(await drawing.text(), "svg", TAGS, ATTRIBUTES);
    if (signal.aborted || !svg) return;
    graph = answer;
    context.snippets("/v1/graph", body);
    texts = graph.nodes.map((_, k) => {
      const node = svg.querySelector(`#node-${k}`);
      const [data, grad] = [node.querySelector(".data"), node.querySelector(".grad")];
      return { node, data, grad, dataText: data.textContent, gradText: grad.textContent, isConstant: node.classList.contains("constant") };
    });
    const rowsById = new Map(graph.nodes.map((node, k) => [node.id, k]));
    targets = graph.edges.map((edge) => rowsById.get(edge.to));
    const output = texts.findIndex((text) => text.node.classList.contains("output"));
    const isConstant = texts.map((text) => text.isConstant);
    steps = stepsOf(graph, output, isConstant, (number) => show(number, DIGITS));
    width = Number(svg.getAttribute("width"));
    picture.style.setProperty("--width", `${width}px`);
    fill(picture, svg);
    fit();
    fill(
      list,
      steps.map((one, k) => element("li", {}, element("button", { type: "button", onclick: () => go(k) }, one.text))),
    );
    slider.max = steps.length - 1;
    field.fault(null);
    player.classList.remove("stale");
    lay(Math.min(step(), steps.length - 1));
  }

  /** Shrink the drawing to the frame if that is asked for, or if it remains legible. */
  function fit() {
    const isLegible = picture.clientWidth >= LEGIBLE * width;
    fitting.hidden = isLegible;
    picture.classList.toggle("whole", whole.checked || isLegible);
    if (steps.length) follow(steps[Math.min(step(), steps.length - 1)]);
  }

  // --- steps

  const step = () => Math.max(0, Math.trunc(context.state.step) || 0);

  function go(wanted) {
    if (!steps.length) return;
    const k = Math.max(0, Math.min(steps.length - 1, wanted));
    if (k !== step()) context.change({ step: k });
    lay(k);
    context.announce(`Step ${k} of ${steps.length - 1}. ${steps[k].text}`);
  }

  /** Show step k: everything up to it, and what it adds. */
  function lay(k) {
    const one = steps[k];
    slider.value = k;
    slider.setAttribute("aria-valuetext", `${k} of ${steps.length - 1}: ${one.text}`);
    count.textContent = `${k} / ${steps.length - 1}`;
    buttons[0].disabled = buttons[1].disabled = k === 0;
    buttons[2].disabled = buttons[3].disabled = k === steps.length - 1;
    const short = (number) => show(number, 5);
    texts.forEach((text, node) => {
      text.data.textContent = one.known.has(node) ? text.dataText : "data";
      const isWhole = one.complete.has(node);
      text.grad.textContent = isWhole ? text.gradText : one.sums.has(node) ? `grad ${short(one.sums.get(node))}` : "grad";
      text.grad.classList.toggle("partial", one.sums.has(node) && !isWhole);
      text.node.classList.toggle("unknown", !one.known.has(node));
      text.node.classList.toggle("active", one.node === node);
      text.node.classList.toggle("upstream", one.from === node);
    });
    for (const edge of picture.querySelectorAll(".edge")) {
      const number = Number(edge.id.slice(5));
      edge.classList.toggle("lit", one.edges.includes(number));
      edge.classList.toggle("done", one.passed.has(number));
      edge.classList.toggle("unknown", !one.known.has(targets[number]));
    }
    [...list.children].forEach((item, j) => {
      if (j === k) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
    });
    const item = list.children[k];
    if (item) list.scrollTop = item.offsetTop - list.clientHeight / 2 + item.offsetHeight / 2;
    drawNow(one);
    follow(one);
    phase.textContent = one.phase;
  }

  /** The step in large: for an edge, local × upstream = contribution, and the sum so far. */
  function drawNow(one) {
    const part = (label, text, kind = "") => element("div", { class: `part ${kind}` }, element("span", { class: "what" }, label), element("span", { class: "number" }, text));
    const sign = (text) => element("span", { class: "sign", "aria-hidden": "true" }, text);
    fill(now, element("p", { class: "telling" }, phase, " ", one.parts ? one.parts.telling : one.text));
    if (!one.parts) return;
    const { local, upstream, contribution, sum, from, to, output } = one.parts;
    now.append(
      element(
        "div",
        { class: "product" },
        part(`local  ∂${to}/∂${from}`, local),
        sign("×"),
        part(`upstream  ∂${output}/∂${to}`, upstream),
        sign("="),
        part("contribution", contribution, "strong"),
        sign("→"),
        part(`sum so far  ∂${output}/∂${from}`, sum, "strong"),
      ),
    );
  }

  /** Scroll the drawing, not the page, so that what has changed can be seen. */
  function follow(one) {
    if (one.node === null || picture.scrollWidth <= picture.clientWidth) return;
    const frame = picture.getBoundingClientRect();
    const node = texts[one.node].node.getBoundingClientRect();
    const boxes = [node, ...one.edges.map((e) => picture.querySelector(`#edge-${e}`).getBoundingClientRect())];
    const [left, right] = [Math.min(...boxes.map((box) => box.left)), Math.max(...boxes.map((box) => box.right))];
    const fits = right - left < frame.width - 20;
    const middle = fits ? (left + right) / 2 : (node.left + node.right) / 2; // the node matters more than the whole of a long edge
    const off = middle - (frame.left + frame.right) / 2;
    const down = (node.top + node.bottom) / 2 - (frame.top + frame.bottom) / 2;
    picture.scrollBy({ left: off, top: down, behavior: calm() || timer === 0 ? "auto" : "smooth" });
  }

  // --- playing, and keys

  function start() {
    if (step() >= steps.length - 1) go(0);
    play.textContent = "Pause";
    timer = setInterval(() => {
      go(step() + 1);
      if (step() >= steps.length - 1) pause();
    }, PACE);
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  slider.addEventListener("input", () => {
    pause();
    go(slider.valueAsNumber);
  });

  const KEYS = { ArrowRight: () => go(step() + 1), ArrowLeft: () => go(step() - 1), Home: () => go(0), End: () => go(steps.length - 1) };
  const onKey = (event) => {
    const isTyping = event.target.closest?.("input, textarea, select, pre, dialog");
    const isElsewhere = !player.contains(event.target) && event.target !== document.body && event.target.id !== "main";
    if (isTyping || isElsewhere || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    pause();
    KEYS[event.key]();
  };
  document.addEventListener("keydown", onKey);

  // --- examples and links

  function choose(id) {
    examples.value = "";
    if (!Object.hasOwn(lessons, id)) return;
    pause();
    context.change(lessons[id], { push: true });
    update();
    context.announce(`Example: ${EXAMPLES[id].name}`);
  }

  function update() {
    pause();
    const { expression } = context.state;
    field.set(expression);
    note.textContent = Object.values(EXAMPLES).find((one) => one.expression === expression)?.note ?? "";
    rows = new Map();
    read();
  }

  update();
  return {
    update,
    unmount() {
      pause();
      renew();
      asked.abort();
      document.removeEventListener("keydown", onKey);
    },
  };
}
