// The GUM's law of propagation: what is known of the inputs, and what follows for the outputs, with the share of each input.

import { fitted, shape, ticks } from "../chart.js";
import { debounced, element, fill, show } from "../dom.js";
import { button, field, menu, messages, numberInput, numbers, table, textInput, tickBox } from "../form.js";
import { namesIn } from "../names.js";

export const title = "Uncertainty";
export const stylesheet = "plots.css";

const normal = (value, u, dof = null) => ({ kind: "normal", value, u, dof });

const EXAMPLES = {
  impedance: {
    name: "Resistance and reactance (GUM H.2)",
    expression: "R = V/I*cos(phi)\nX = V/I*sin(phi)\nZ = V/I",
    outputs: ["R", "X", "Z"],
    inputs: { V: normal(4.999, 0.0032), I: normal(0.019661, 0.0000095), phi: normal(1.04446, 0.00075) },
    correlations: [
      { a: "V", b: "I", r: -0.36 },
      { a: "V", b: "phi", r: 0.86 },
      { a: "I", b: "phi", r: -0.65 },
    ],
  },
  gauge: {
    name: "Length of an end gauge (GUM H.1)",
    expression: "l = ls + d - ls*(da*theta + als*dt)",
    outputs: ["l"],
    inputs: {
      ls: normal(50000623, 25, 18),
      d: normal(215, 9.7, 25.6),
      da: normal(0, 0.58e-6, 50),
      theta: normal(-0.1, 0.41),
      als: { kind: "limits", value: 11.5e-6, half_width: 2e-6, distribution: "uniform" },
      dt: normal(0, 0.029, 2),
    },
    correlations: [],
  },
  density: {
    name: "Density from readings",
    expression: "rho = m/(pi/4*d**2*h)",
    outputs: ["rho"],
    inputs: {
      m: { kind: "readings", readings: "72.41, 72.43, 72.40, 72.42, 72.44" },
      d: { kind: "readings", readings: "2.002, 1.998, 2.001, 1.999" },
      h: { kind: "limits", value: 8.55, half_width: 0.01, distribution: "triangular" },
    },
    correlations: [],
  },
};

const fieldsOf = ({ expression, outputs, inputs, correlations }) => ({ expression, outputs, inputs, correlations });
const PLAIN = { coverage: 0.95, factor: null, second: false, monteCarlo: true, samples: 200000, seed: 1 };
export const lessons = Object.fromEntries(Object.entries(EXAMPLES).map(([key, one]) => [key, { ...fieldsOf(one), ...PLAIN }]));
export const initial = lessons.impedance;

const KINDS = [
  ["normal", "value and uncertainty"],
  ["readings", "readings"],
  ["limits", "value and limits"],
  ["exact", "exact"],
];
const DISTRIBUTIONS = ["uniform", "triangular", "arcsine", "trapezoidal", "curvilinear_trapezoid"];
const EXTRA = { trapezoidal: ["beta", "Top by base (beta)"], curvilinear_trapezoid: ["half_width_uncertainty", "Limits inexact by"] };

const numberOrNull = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** What a state has for an input, whatever a link has put there. */
function inputOf(state, name) {
  const given = Object.hasOwn(state.inputs, name) && state.inputs[name] !== null ? state.inputs[name] : normal(1, 0.1);
  const numbersIn = Object.fromEntries(["value", "u", "dof", "half_width", "beta", "half_width_uncertainty"].map((key) => [key, numberOrNull(given[key])]));
  return {
    ...numbersIn,
    kind: KINDS.some(([kind]) => kind === given.kind) ? given.kind : "normal",
    readings: String(given.readings ?? ""),
    distribution: DISTRIBUTIONS.includes(given.distribution) ? given.distribution : "uniform",
  };
}

function correlationsOf(state) {
  return state.correlations.filter((one) => one !== null && typeof one === "object").map(({ a, b, r }) => ({ a: String(a), b: String(b), r: numberOrNull(r) }));
}

/** Numbers with something between them: blanks, semicolons, or commas. A comma between digits is a decimal mark only beside semicolons. */
function readingsIn(text, name) {
  const separator = text.includes(";") ? /[;\s]+/ : /[,\s]+/;
  const cells = text.trim().split(separator).filter(Boolean);
  const found = cells.map((cell) => Number(text.includes(";") ? cell.replace(",", ".") : cell));
  const bad = found.findIndex((number) => !Number.isFinite(number));
  if (bad >= 0) throw new Error(`The readings of ${name}: found '${cells[bad].slice(0, 40)}', which is not a number. Write them as 5.007, 4.994, 5.005.`);
  return found;
}

/** An input as the service takes it. */
function wireOf(input, name) {
  const needed = (key, what) => {
    if (input[key] === null) throw new Error(`The input ${name} needs ${what}.`);
    return input[key];
  };
  if (input.kind === "readings") return { readings: readingsIn(input.readings, name) };
  const value = needed("value", "a value");
  if (input.kind === "exact") return value;
  if (input.kind === "normal") return { value, u: needed("u", "a standard uncertainty"), ...(input.dof === null ? {} : { dof: input.dof }) };
  const [extra] = EXTRA[input.distribution] ?? [];
  const more = extra ? { [extra]: needed(extra, EXTRA[input.distribution][1]) } : {};
  return { value, half_width: needed("half_width", "a half width"), distribution: input.distribution, ...more };
}

/** A value and its expanded uncertainty, rounded to two digits of the uncertainty: "127.73 ± 0.14". */
export function rounded(value, uncertainty) {
  const digits = uncertainty > 0 ? 1 - Math.floor(Math.log10(uncertainty)) : NaN;
  if (!(digits >= -1 && digits <= 12) || Math.abs(value) >= 1e15) return `${show(value, 8)} ± ${show(uncertainty, 2)}`;
  const places = Math.max(digits, 0);
  return `${value.toFixed(places)} ± ${uncertainty.toFixed(places)}`.replaceAll("-", "−");
}

const percent = (share) => (share === null ? "–" : `${show(100 * share, 3)} %`);

/** The shares of the variance as bars from 0, negative ones to the left. */
function drawBars(holder, width, output, budget) {
  const shares = budget.map((entry) => entry.share ?? 0);
  const domain = [Math.min(0, ...shares), Math.max(0.001, ...shares)];
  const label = Math.min(110, 24 + 8 * Math.max(...budget.map((entry) => entry.input.length)));
  const hasNegative = domain[0] < 0;
  const [left, right] = [label + (hasNegative ? 74 : 8), width - 66];
  const X = (share) => left + ((share - domain[0]) / (domain[1] - domain[0])) * (right - left);
  const [row, top] = [34, 8];
  const bottom = top + row * budget.length;
  const id = `budget-${holder.id}`;
  const text = budget.map((entry) => `${entry.input} ${percent(entry.share)}`).join(", ");
  const root = shape(
    "svg",
    { class: "plot budget", role: "img", width, height: bottom + 44, viewBox: `0 0 ${width} ${bottom + 44}`, "aria-labelledby": `${id}-title ${id}-desc` },
    shape("title", { id: `${id}-title` }, `Uncertainty budget of ${output}`),
    shape("desc", { id: `${id}-desc` }, `Share of the variance by input: ${text}.`),
    ticks(domain, Math.max(3, (right - left) / 90)).map((tick) => [
      shape("line", { class: "grid", x1: X(tick), x2: X(tick), y1: top, y2: bottom }),
      shape("text", { x: X(tick), y: bottom + 18, "text-anchor": "middle" }, percent(tick)),
    ]),
    shape("text", { class: "name", x: (left + right) / 2, y: bottom + 38, "text-anchor": "middle" }, "share of the variance"),
    budget.map((entry, k) => {
      const [from, to] = [X(0), X(shares[k])].sort((a, b) => a - b);
      const isNegative = shares[k] < 0;
      const middle = top + row * (k + 0.5);
      return [
        shape("text", { class: "name", x: label - 8, y: middle + 4, "text-anchor": "end" }, entry.input.length > 12 ? `${entry.input.slice(0, 11)}…` : entry.input),
        shape("rect", { class: isNegative ? "bar negative" : "bar", "data-input": entry.input, x: from, y: middle - 10, width: Math.max(to - from, 0.5), height: 20, rx: 2 }),
        shape("text", { class: "value", x: isNegative ? from - 6 : to + 6, y: middle + 4, "text-anchor": isNegative ? "end" : "start" }, percent(entry.share)),
      ];
    }),
    shape("line", { class: "axis", x1: X(0), x2: X(0), y1: top, y2: bottom }),
  );
  fill(holder, root);
}

export function mount(root, context) {
  const { call, change, announce } = context;
  let asked = new AbortController();
  let shownNames = null;
  let names = { free: [], assigned: [] };
  let plots = [];

  const formula = element("textarea", { class: "code", id: "formula", rows: "3", spellcheck: "false", oninput: (e) => set({ expression: e.target.value }) });
  const outputs = element("div", { class: "wide", id: "outputs" });
  const inputs = element("div", { class: "wide stack", id: "inputs" });
  const correlations = element("div", { class: "wide", id: "correlations" });
  const options = element("div", { class: "fields wide" });
  const examples = menu([["", "Choose an example"], ...Object.entries(EXAMPLES).map(([key, one]) => [key, one.name])], "", chooseExample, { id: "example" });
  const wrong = messages([["/expression", formula]]);
  const result = element("div", { class: "stack", id: "result" });

  root.append(
    element("h1", {}, title),
    element("p", { class: "lead" }, "Propagation of uncertainty (GUM): which input is worth measuring better?"),
    element(
      "div",
      { class: "columns workbench" },
      element(
        "div",
        { class: "panel settings stack" },
        field("Examples", examples),
        field("Expression", formula, { hint: "One assignment per line." }),
        element("fieldset", { class: "fields" }, element("legend", {}, "Outputs"), outputs),
        element("fieldset", { class: "fields" }, element("legend", {}, "Inputs"), inputs),
        element("fieldset", { class: "fields" }, element("legend", {}, "Correlations"), correlations),
        element("fieldset", { class: "fields" }, element("legend", {}, "Coverage and methods"), options),
        button("Compute", () => run(), { class: "main", id: "compute" }),
      ),
      element("div", { class: "panel stack" }, wrong.box, result),
    ),
  );

  const runSoon = debounced(400, () => run());

  function set(partial) {
    change(partial);
    runSoon();
  }

  function chooseExample(key) {
    if (!Object.hasOwn(lessons, key)) return;
    change(lessons[key]);
    showState();
    run();
  }

  function showState() {
    formula.value = context.state.expression;
    shownNames = null;
    showOptions();
  }

  // --- fields

  function showOptions() {
    const { coverage, factor, second, monteCarlo, samples, seed } = context.state;
    fill(
      options,
      field("Coverage probability", numberInput(coverage, (number) => set({ coverage: number }), { min: "0.01", max: "0.9999", id: "coverage" })),
      field("Coverage factor", numberInput(numberOrNull(factor), (number) => set({ factor: number }), { min: "0.01", optional: true, placeholder: "automatic", id: "factor" })),
      element("div", { class: "wide" }, tickBox("Terms of second order (independent inputs)", second, (value) => set({ second: value }))),
      element("div", { class: "wide" }, tickBox("Compare with Monte Carlo", monteCarlo, (value) => set({ monteCarlo: value }))),
      field("Samples", numberInput(samples, (number) => set({ samples: number }), { min: "100", max: "1000000", step: "1", id: "samples" })),
      field("Seed", numberInput(seed, (number) => set({ seed: number }), { min: "0", step: "1", id: "seed" })),
    );
  }

  const chosenOutputs = () => names.assigned.filter((name) => context.state.outputs.includes(name));

  function showOutputs() {
    const toggle = (name, isChosen) => set({ outputs: names.assigned.filter((one) => (one === name ? isChosen : context.state.outputs.includes(one))) });
    if (names.assigned.length < 2) return fill(outputs, element("p", { class: "note" }, names.assigned[0] ?? "The value of the expression"));
    return fill(outputs, element("div", { class: "row" }, names.assigned.map((name) => tickBox(name, context.state.outputs.includes(name), (value) => toggle(name, value)))));
  }

  function showInputs() {
    fill(inputs, names.free.map(inputCard));
  }

  function inputCard(name) {
    const given = inputOf(context.state, name);
    const put = (partial, rebuild = false) => {
      change({ inputs: { ...context.state.inputs, [name]: { ...inputOf(context.state, name), ...partial } } });
      if (rebuild) showAgain();
      runSoon();
    };
    const number = (key, label, attributes = {}) =>
      field(label, numberInput(given[key], (value) => put({ [key]: value }), { id: `${key}-${name}`, "aria-label": `${label} of ${name}`, ...attributes }));
    const kind = menu(KINDS, given.kind, (value) => put({ kind: value }, true), { id: `kind-${name}`, "aria-label": `What is known of ${name}` });
    const parts = {
      normal: () => [number("value", "Value"), number("u", "Uncertainty u", { min: "0" }), number("dof", "Degrees of freedom", { min: "0", optional: true, placeholder: "infinite" })],
      readings: () => field("Readings", textInput(given.readings, (text) => put({ readings: text }), { id: `readings-${name}`, "aria-label": `Readings of ${name}` }), { wide: true }),
      limits: () => [
        number("value", "Value"),
        number("half_width", "Half width", { min: "0" }),
        field("Distribution", menu(DISTRIBUTIONS, given.distribution, (value) => put({ distribution: value }, true), { id: `distribution-${name}`, "aria-label": `Distribution of ${name}` })),
        EXTRA[given.distribution] && number(EXTRA[given.distribution][0], EXTRA[given.distribution][1], { min: "0" }),
      ],
      exact: () => number("value", "Value"),
    };
    return element("div", { class: "input-card" }, element("div", { class: "input-head" }, element("span", { class: "code" }, name), kind), element("div", { class: "input-fields" }, parts[given.kind]()));
  }

  function showCorrelations() {
    const all = correlationsOf(context.state);
    const put = (list, rebuild = false) => {
      change({ correlations: list });
      if (rebuild) showAgain();
      runSoon();
    };
    const edit = (k, partial) => put(correlationsOf(context.state).map((one, j) => (j === k ? { ...one, ...partial } : one)));
    const rows = all.map((one, k) =>
      element(
        "div",
        { class: "correlation" },
        menu(withOwn(names.free, one.a), one.a, (value) => edit(k, { a: value }), { "aria-label": `Correlation ${k + 1}: first input`, id: `correlation-a-${k}` }),
        menu(withOwn(names.free, one.b), one.b, (value) => edit(k, { b: value }), { "aria-label": `Correlation ${k + 1}: second input`, id: `correlation-b-${k}` }),
        numberInput(one.r, (value) => edit(k, { r: value }), { min: "-1", max: "1", "aria-label": `Correlation ${k + 1}: coefficient`, id: `correlation-r-${k}` }),
        button("×", () => put(correlationsOf(context.state).filter((_, j) => j !== k), true), { class: "small", "aria-label": `Remove correlation ${k + 1}` }),
      ),
    );
    const add = button("Add a correlation", () => put([...correlationsOf(context.state), { a: names.free[0], b: names.free[1], r: 0 }], true), {
      id: "add-correlation",
      disabled: names.free.length < 2,
    });
    fill(correlations, rows, add);
  }

  const withOwn = (list, name) => (list.includes(name) ? list : [...list, name]);

  /** Show the fields anew, and leave the focus where it was. */
  function showAgain() {
    const focused = document.activeElement?.id;
    showOutputs();
    showInputs();
    showCorrelations();
    if (focused) document.getElementById(focused)?.focus();
  }

  // --- the computation

  async function run() {
    runSoon.cancel();
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    root.dataset.phase = "running";
    try {
      names = await namesIn(call, context.state.expression, signal);
      if (names.assigned.length && !chosenOutputs().length) change({ outputs: [names.assigned.at(-1)] });
      const now = JSON.stringify(names);
      if (now !== shownNames) showAgain();
      shownNames = now;
      const request = requestNow();
      context.snippets("/v1/propagate", request);
      const answer = await call("/v1/propagate", request, { signal });
      wrong.clear();
      showResult(answer);
      announce("Computed");
    } catch (error) {
      if (error.name === "AbortError") return;
      stopPlots();
      fill(result);
      context.snippets(null);
      wrong.tell(error);
    }
    root.dataset.phase = "done";
  }

  function requestNow() {
    const { expression, coverage, factor, second, monteCarlo, samples, seed } = context.state;
    const chosen = chosenOutputs();
    const related = correlationsOf(context.state).map(({ a, b, r }) => {
      if (r === null) throw new Error(`The correlation of ${a} and ${b} needs a coefficient from −1 to 1.`);
      return [a, b, r];
    });
    return {
      expression,
      ...(chosen.length ? { outputs: chosen } : {}),
      inputs: Object.fromEntries(names.free.map((name) => [name, wireOf(inputOf(context.state, name), name)])),
      ...(related.length ? { correlations: related } : {}),
      coverage: coverage ?? 0.95,
      ...(numberOrNull(factor) === null ? {} : { coverage_factor: factor }),
      ...(second ? { order: 2 } : {}),
      ...(monteCarlo ? { monte_carlo: { samples: samples ?? 200000, seed: seed ?? 0 } } : {}),
    };
  }

  function stopPlots() {
    for (const one of plots) one.stop();
    plots = [];
  }

  function showResult(answer) {
    stopPlots();
    const entries = Object.entries(answer.results);
    fill(result, entries.map(([name, found], k) => outputSection(name, found, k)), entries.length > 1 && correlationOfOutputs(answer.correlation));
  }

  function outputSection(name, found, k) {
    const holder = element("div", { class: "plot-holder", id: `bars-${k}` });
    const part = `${show(100 * (context.state.coverage ?? 0.95), 4)} %`;
    const interval = ([low, high]) => `${show(low, 8)} to ${show(high, 8)}`;
    const facts = [
      ["Value", show(found.value, 9)],
      ["Standard uncertainty", show(found.standard_uncertainty, 5)],
      ["Coverage factor", show(found.coverage_factor, 4)],
      ["Degrees of freedom", found.degrees_of_freedom === null ? (found.message ? "–" : "infinite") : show(found.degrees_of_freedom, 4)],
      [`Interval (${part})`, interval(found.interval)],
    ];
    const section = element(
      "section",
      { class: "output", "aria-labelledby": `output-${k}` },
      element("h2", { id: `output-${k}`, "data-output": name }, `${name} = ${rounded(found.value, found.expanded_uncertainty)}`),
      element("dl", { class: "readout small" }, facts.map(([what, text]) => element("div", {}, element("dt", {}, what), element("dd", {}, text)))),
      found.message && element("p", { class: "note" }, `${found.message[0].toUpperCase()}${found.message.slice(1)}.`),
      found.second_order && secondOrder(found.second_order),
      found.monte_carlo && monteCarlo(found.monte_carlo, interval),
      holder,
      numbers(
        "The budget in numbers",
        table(`Uncertainty budget of ${name}`, ["input", "uncertainty", "sensitivity", "contribution", "share"], found.budget.map((one) => [one.input, one.uncertainty, one.sensitivity, one.contribution, percent(one.share)])),
      ),
    );
    if (found.budget.length) plots.push(fitted(holder, (width) => drawBars(holder, width, name, found.budget)));
    return section;
  }

  function secondOrder({ value, standard_uncertainty: u }) {
    return element("p", {}, "With terms of second order: value ", element("span", { class: "number" }, show(value, 9)), ", standard uncertainty ", element("span", { class: "number" }, show(u, 5)), ".");
  }

  function monteCarlo(found, interval) {
    return element(
      "p",
      { class: "monte-carlo" },
      element("strong", { class: found.agrees ? "agrees" : "differs" }, found.agrees ? "Monte Carlo agrees: " : "Monte Carlo differs: "),
      `mean ${show(found.mean, 8)}, standard uncertainty ${show(found.standard_uncertainty, 5)}, interval ${interval(found.interval)}, shortest ${interval(found.shortest_interval)}.`,
      !found.agrees && element("span", { class: "note" }, " The limits differ by more than half a unit in the second digit of the uncertainty; more samples tell whether that is chance."),
    );
  }

  function correlationOfOutputs(correlation) {
    const all = Object.keys(correlation);
    return element("section", {}, element("h2", {}, "Correlation of the outputs"), table("Correlation of the outputs", ["", ...all], all.map((a) => [a, ...all.map((b) => correlation[a][b])]), (number) => show(number, 4)));
  }

  showState();
  run();

  return {
    unmount() {
      runSoon.cancel();
      asked.abort();
      stopPlots();
    },
  };
}
