// A formula with its value, gradients, difference quotients, derivatives, Hessian and source code, as it is typed.

import { editor, formOf, sourceOf } from "../editor.js";
import { copyButton, debounced, fill, show } from "../dom.js";
import { derivativeFormula } from "../formula.js";
import { rowOf, sliders, valuesOf } from "../inputs.js";

export const title = "Expression";
export const stylesheet = "expression.css";

export const initial = {
  expression: "h = tanh(w*x + b)\n(h - y)**2",
  inputs: { w: [0.8, -5, 5], x: [1.5, -5, 5], b: [-0.4, -5, 5], y: [0.5, -5, 5] },
  form: "typeset",
  language: "python",
  derivatives: "gradient",
};

/** What the menu offers: the name, the expression and its inputs. */
const EXAMPLES = {
  neuron: ["A neuron and its loss", initial.expression, initial.inputs],
  product: ["Product rule", "x**2 * sin(y)", { x: [3, -5, 5], y: [1, -5, 5] }],
  rosenbrock: ["Rosenbrock’s valley", "(1 - x)**2 + 100*(y - x**2)**2", { x: [-1.2, -2, 2], y: [1, -1, 3] }],
  softmax: ["Softmax cross-entropy", "logsumexp(a, b, c) - a", { a: [1, -5, 5], b: [2, -5, 5], c: [0.5, -5, 5] }],
  option: [
    "Price of an option",
    "sd = vol*sqrt(T)\nd = (log(S/K) + (r + vol**2/2)*T)/sd\nN1 = (1 + erf(d/sqrt(2)))/2\nN2 = (1 + erf((d - sd)/sqrt(2)))/2\nS*N1 - K*exp(-r*T)*N2",
    { vol: [0.2, 0.01, 1], T: [1, 0.1, 3], S: [100, 50, 150], K: [105, 50, 150], r: [0.03, 0, 0.1] },
  ],
  kink: ["A kink: relu", "relu(x) + x/4", { x: [0, -3, 3] }],
  mathjson: ["MathJSON", '["Divide", ["Sin", "x"], ["Add", 1, ["Power", "x", 2]]]', { x: [0.7, -5, 5] }],
  graph: [
    "A graph as JSON",
    '{"nodes": [\n  {"id": "x", "op": "value", "data": 3},\n  {"id": "y", "op": "value", "data": 2},\n  {"id": "p", "op": "mul", "args": ["x", "y"]},\n  {"id": "out", "op": "tanh", "args": ["p"]}],\n "output": "out"}',
    {},
  ],
};

export const lessons = Object.fromEntries(Object.entries(EXAMPLES).map(([id, [, expression, inputs]]) => [id, { expression, inputs }]));

const FORMS = { typeset: "Typeset", text: "Text", latex: "LaTeX" };
const LANGUAGES = { python: "Python", javascript: "JavaScript", c: "C", r: "R", elixir: "Elixir", latex: "LaTeX" };
const DERIVATIVES = { none: "Value", gradient: "Gradient", hessian: "Hessian" };
const LARGEST_MATRIX = 12;
const HELP = "Python’s arithmetic, one assignment per line: + − * / **, sin, exp, log, tanh …, a if x > 0 else b. Or paste MathJSON or a graph as JSON.";

export function mount(root, context) {
  const { element } = context;
  let rows = new Map(); // of the inputs that the expression has: [value, least, greatest]
  let source = null;
  let output = "output";
  let typed = new AbortController(); // ends what belongs to an earlier text
  let evaluating = false;
  let isStale = false;

  const field = editor({ id: "expression", label: "Formula", help: HELP, rows: 5, onInput: (text) => (context.change({ expression: text }), typedSoon()) });
  const inputs = sliders("input", (name, row) => {
    rows.set(name, row);
    keepInputs();
    evaluateSoon();
  });
  const examples = element(
    "select",
    { id: "examples", onchange: () => choose(examples.value) },
    element("option", { value: "" }, "Examples …"),
    Object.entries(EXAMPLES).map(([id, [name]]) => element("option", { value: id }, name)),
  );
  const value = element("output", { class: "value number", id: "value", for: "expression" }, "…");
  const trouble = element("div", { id: "trouble" });
  const gradients = element("tbody", { id: "gradients" });
  const agreement = element("p", { class: "note", id: "agreement" });
  const formulas = element("div", { id: "formulas", class: "formulas scroll", tabindex: "0", role: "group", "aria-label": "Partial derivatives" });
  const matrix = element("div", { id: "hessian", class: "scroll", tabindex: "0", role: "group", "aria-label": "Hessian matrix" });
  const code = element("code", { id: "code" });
  const usage = element("p", { class: "note" });
  const results = element("div", { class: "stack results" });

  const choices = (label, field, options, action) =>
    element(
      "div",
      { class: "choices", role: "group", "aria-label": label },
      Object.entries(options).map(([name, text]) =>
        element("button", { type: "button", "data-choice": `${field}:${name}`, onclick: () => (context.change({ [field]: name }), press(), action()) }, text),
      ),
    );

  root.append(
    element("h1", {}, "Expression"),
    element("p", { class: "lead" }, "Type a formula. Its value and its exact derivatives follow as you type; move the inputs and watch."),
    element(
      "div",
      { class: "columns sides" },
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
      results,
    ),
    element(
      "section",
      { class: "panel spaced", "aria-labelledby": "code-title" },
      element("div", { class: "row between" }, element("h2", { id: "code-title" }, "The derivative as code"), copyButton("Copy code", () => code.textContent, context.announce)),
      element("div", { class: "row" }, choices("Language of the code", "language", LANGUAGES, writeCode), choices("What is computed", "derivatives", DERIVATIVES, writeCode)),
      element("pre", { tabindex: "0", role: "group", "aria-label": "Source code" }, code),
      usage,
    ),
  );
  fill(
    results,
    element("section", { class: "panel", "aria-labelledby": "value-title" }, element("h2", { id: "value-title" }, "Value"), value, trouble),
    element(
      "section",
      { class: "panel", "aria-labelledby": "gradients-title" },
      element("h2", { id: "gradients-title" }, "Gradient"),
      element(
        "div",
        { class: "scroll", tabindex: "0", role: "group", "aria-labelledby": "gradients-title" },
        element(
          "table",
          {},
          element("thead", {}, element("tr", {}, ["Input", "Derivative", "Difference quotient", "Agree"].map((text) => element("th", { scope: "col" }, text)))),
          gradients,
        ),
      ),
      agreement,
    ),
    element(
      "section",
      { class: "panel", "aria-labelledby": "formulas-title" },
      element("div", { class: "row between" }, element("h2", { id: "formulas-title" }, "Derivatives as formulas"), choices("Form of the formulas", "form", FORMS, () => drawFormulas())),
      formulas,
    ),
    element("section", { class: "panel", "aria-labelledby": "hessian-title" }, element("h2", { id: "hessian-title" }, "Hessian"), matrix),
  );

  function press() {
    for (const button of root.querySelectorAll("[data-choice]")) {
      const [field, name] = button.dataset.choice.split(":");
      button.setAttribute("aria-pressed", String(context.state[field] === name));
    }
  }

  function choose(id) {
    examples.value = "";
    if (!Object.hasOwn(lessons, id)) return;
    context.change(lessons[id], { push: true });
    update();
    context.announce(`Example: ${EXAMPLES[id][0]}`);
  }

  function keepInputs() {
    context.change({ inputs: Object.fromEntries(rows) });
  }

  // --- the text has changed: its derivatives as formulas say what its inputs are

  let derived = null;
  const typedSoon = debounced(250, read);

  async function read() {
    typedSoon.cancel();
    evaluateSoon.cancel();
    typed.abort();
    typed = new AbortController();
    const { signal } = typed;
    results.classList.add("stale");
    try {
      const next = sourceOf(context.state.expression);
      const answer = await context.call("/v1/derivative", { expression: next }, { signal });
      source = next;
      derived = answer;
      output = answer.output;
      const given = context.state.inputs;
      const data = new Map(answer.graph.nodes.filter((node) => node.op === "value").map((node) => [node.id, node.data]));
      const before = rows;
      rows = new Map();
      for (const name of Object.keys(answer.derivatives)) {
        rows.set(name, rowOf((Object.hasOwn(given, name) ? given[name] : null) ?? before.get(name), data.get(name) ?? 1));
      }
      field.fault(null);
      inputs.draw(rows);
      drawFormulas();
      await evaluate();
      if (!signal.aborted) await writeCode();
    } catch (error) {
      if (error.name === "AbortError") return;
      field.fault(error);
      context.snippets(null);
    }
  }

  // --- the inputs have changed: one request at a time, and the difference quotients when they rest

  const evaluateSoon = debounced(40, evaluate);
  const checkSoon = debounced(300, () => check().catch(() => {}));

  async function evaluate() {
    isStale = true;
    if (evaluating) return; // the loop below goes round once more
    evaluating = true;
    checkSoon.cancel();
    while (isStale) {
      isStale = false;
      const { signal } = typed;
      const body = { expression: source, inputs: valuesOf(rows) };
      context.snippets("/v1/backward", body);
      try {
        drawNumbers(await context.call("/v1/hessian", { ...body, nonfinite: "null" }, { signal }));
        results.classList.remove("stale");
        checkSoon();
      } catch (error) {
        if (error.name === "AbortError") continue;
        results.classList.add("stale");
        fill(trouble, element("p", { class: "problem" }, element("strong", {}, error.title), ": ", error.detail));
      }
    }
    evaluating = false;
  }

  async function check() {
    const { signal } = typed;
    const wanted = JSON.stringify(valuesOf(rows));
    const answer = await context.call("/v1/check", { expression: source, inputs: valuesOf(rows), nonfinite: "null" }, { signal });
    if (wanted !== JSON.stringify(valuesOf(rows))) return; // the inputs have moved on
    const found = Object.entries(answer.checks);
    for (const [k, [, one]] of found.entries()) {
      const row = gradients.children[k];
      if (!row) continue;
      row.children[2].textContent = show(one.numeric, 8);
      const agrees = one.relative_error !== null && one.relative_error <= 1e-6;
      fill(
        row.children[3],
        one.relative_error === null
          ? element("span", { class: "note" }, "not finite")
          : element("span", { class: agrees ? "agrees" : "differs" }, element("span", { "aria-hidden": "true" }, agrees ? "✓ " : "✗ "), agrees ? "yes" : `no, by ${show(one.relative_error, 2)}`),
      );
    }
    if (!found.length) return;
    const text = answer.ok ? "Every derivative agrees with its difference quotient to a relative error of 1e−6." : "Not every derivative has a difference quotient that agrees to 1e−6: look for a kink, or for a number that is not finite.";
    agreement.textContent = text;
    context.announce(`Value ${value.textContent}. ${text}`);
  }

  // --- what is shown

  function drawNumbers(answer) {
    value.textContent = answer.value === null ? "not finite" : show(answer.value, 10);
    const first = answer.nonfinite?.[0];
    fill(
      trouble,
      first && element("p", { class: "problem" }, element("strong", {}, "Not everything is finite"), `: ${first.node} gives ${first.value} in the ${first.pass} pass.`),
    );
    agreement.textContent = Object.keys(answer.gradients).length ? " " : "Without inputs there is no gradient.";
    fill(
      gradients,
      Object.entries(answer.gradients).map(([name, gradient]) =>
        element("tr", { "data-input": name }, element("th", { scope: "row", class: "code" }, name), element("td", { class: "number gradient" }, show(gradient, 8)), element("td", { class: "number" }, "…"), element("td", {}, "")),
      ),
    );
    drawMatrix(answer.hessian);
  }

  function drawMatrix(hessian) {
    const names = Object.keys(hessian);
    if (!names.length || names.length > LARGEST_MATRIX) {
      fill(matrix, element("p", { class: "note" }, names.length ? `The matrix has ${names.length} rows; it is shown up to ${LARGEST_MATRIX}.` : "Without inputs there is no Hessian."));
      return;
    }
    const most = Math.max(...names.flatMap((a) => names.map((b) => Math.abs(hessian[a][b] ?? 0)))) || 1;
    const cell = (number) => {
      const depth = number === null ? 0 : Math.sqrt(Math.abs(number) / most) * 0.5;
      const shade = `rgb(var(--${number < 0 ? "cool" : "warm"}) / ${depth.toFixed(3)})`;
      return element("td", { class: "number", style: { background: shade } }, show(number, 4));
    };
    fill(
      matrix,
      element(
        "table",
        { class: "heat" },
        element("caption", { class: "unseen" }, "Second derivatives by pairs of inputs"),
        element("thead", {}, element("tr", {}, element("td", {}), names.map((name) => element("th", { scope: "col", class: "code" }, name)))),
        element("tbody", {}, names.map((a) => element("tr", {}, element("th", { scope: "row", class: "code" }, a), names.map((b) => cell(hessian[a][b]))))),
      ),
      element("p", { class: "note legend" }, element("span", { class: "swatch cool" }), " negative  ", element("span", { class: "swatch warm" }), " positive; the deeper, the larger"),
    );
  }

  function drawFormulas() {
    if (!derived) return;
    const { form } = context.state;
    const name = derived.output === "output" ? "f" : derived.output;
    fill(
      formulas,
      Object.entries(derived.derivatives).map(([input, forms]) => {
        const written = forms[{ text: "text", latex: "latex" }[form] ?? "mathml"];
        if (written === null || written === undefined) return element("p", { class: "note" }, `The derivative by ${input} is too long to write down.`);
        const formula = form === "text" || form === "latex" ? null : derivativeFormula(written, name, input);
        return formula ? element("div", { class: "formula", "data-input": input }, formula) : element("pre", { "data-input": input }, `d${name}/d${input} = ${written}`);
      }),
    );
    if (!formulas.children.length) formulas.append(element("p", { class: "note" }, "Without inputs there are no derivatives."));
  }

  async function writeCode() {
    const { signal } = typed;
    const { language, derivatives } = context.state;
    const known = { language: Object.hasOwn(LANGUAGES, language) ? language : "python", derivatives: Object.hasOwn(DERIVATIVES, derivatives) ? derivatives : "gradient" };
    try {
      const answer = await context.call("/v1/code", { expression: source, ...known }, { signal });
      if (language !== context.state.language || derivatives !== context.state.derivatives) return;
      code.textContent = answer.source;
      fill(usage, "Call it as ", element("code", {}, answer.usage));
    } catch (error) {
      if (error.name === "AbortError") return;
      code.textContent = "";
      fill(usage, error.detail);
    }
  }

  function update() {
    field.set(context.state.expression);
    rows = new Map();
    press();
    read();
  }

  update();
  return {
    update,
    unmount() {
      for (const waiting of [typedSoon, evaluateSoon, checkSoon]) waiting.cancel();
      typed.abort();
    },
  };
}
