// Fitting a formula to a pasted table: parameters with their uncertainty, the curve with its bands, and the residuals.

import { band, extent, fitted, frame, line, marker, padded, shape } from "../chart.js";
import { debounced, element, fill, show } from "../dom.js";
import { button, field, menu, messages, numberInput, numbers, precise, someOf, table, tellTableError, textInput, tickBox } from "../form.js";
import { namesIn } from "../names.js";
import { parseTable, TableError } from "../table.js";

export const title = "Fit";
export const stylesheet = "plots.css";

const PUROMYCIN = `conc,rate
0.02,76
0.02,47
0.06,97
0.06,107
0.11,123
0.11,139
0.22,159
0.22,152
0.56,191
0.56,201
1.10,207
1.10,200
`;
const MISRA1A = `y,x
10.07,77.6
14.73,114.9
17.94,141.1
23.93,190.8
29.61,239.9
35.18,289.0
40.02,332.8
44.82,378.4
50.76,434.8
55.05,477.3
61.01,536.8
66.40,593.1
75.47,689.1
81.78,760.0
`;
const THERMOMETER = `t;b
21,521;-0,171
22,012;-0,169
22,512;-0,166
23,003;-0,159
23,507;-0,164
23,999;-0,165
24,513;-0,156
25,002;-0,157
25,503;-0,159
26,010;-0,161
26,511;-0,160
`;

const EXAMPLES = {
  enzyme: {
    name: "Speed of an enzyme (R's Puromycin)",
    csv: PUROMYCIN,
    expression: "Vm*conc/(K + conc)",
    target: "rate",
    parameters: { Vm: { start: 200 }, K: { start: 0.05 } },
  },
  misra1a: {
    name: "Adsorption (NIST's Misra1a)",
    csv: MISRA1A,
    expression: "b1*(1 - exp(-b2*x))",
    target: "y",
    parameters: { b1: { start: 500 }, b2: { start: 0.0001 } },
  },
  thermometer: {
    name: "Calibration of a thermometer (GUM H.3)",
    csv: THERMOMETER,
    expression: "y1 + y2*(t - 20)",
    target: "b",
    parameters: { y1: { start: 0 }, y2: { start: 0 } },
  },
};

const fieldsOf = ({ csv, expression, target, parameters }) => ({ csv, expression, target, parameters });
const PLAIN = { sigma: "", absolute: false, intervals: "wald", level: 0.95, loss: "linear" };
export const lessons = Object.fromEntries(Object.entries(EXAMPLES).map(([key, one]) => [key, { ...fieldsOf(one), ...PLAIN }]));
export const initial = lessons.enzyme;

const ON_GRID = 121;

/** Where to draw the curve: some way beyond the data, but not across 0 where the data do not. */
function gridOver(column) {
  const [low, high] = extent(column);
  let [from, to] = padded([low, high], 0.06);
  if (low >= 0) from = low > 0 ? Math.max(from, low / 2) : 0;
  if (high <= 0) to = high < 0 ? Math.min(to, high / 2) : 0;
  return Array.from({ length: ON_GRID }, (_, k) => from + ((to - from) * k) / (ON_GRID - 1));
}

const numberOrNull = (value) => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** What a state has for a parameter, whatever a link has put there. */
function parameterOf(state, name) {
  const given = Object.hasOwn(state.parameters, name) ? state.parameters[name] : null;
  return { start: numberOrNull(given?.start ?? 1), min: numberOrNull(given?.min), max: numberOrNull(given?.max) };
}

export function mount(root, context) {
  const { call, change, announce } = context;
  let asked = new AbortController();
  let shownNames = null; // the parameters that have rows, and the columns that are in the menus
  let drawn = null; // { answer, data, target, across, grid }

  const area = element("textarea", { class: "code", id: "table", rows: "9", spellcheck: "false", oninput: (e) => set({ csv: e.target.value }) });
  const formula = textInput("", (text) => set({ expression: text }), { class: "code", id: "formula" });
  const rows = element("div", { class: "wide" });
  const choices = element("div", { class: "fields wide" });
  const level = numberInput(context.state.level, (number) => set({ level: number }), { min: "0.01", max: "0.9999", id: "level" });
  const examples = menu([["", "Choose an example"], ...Object.entries(EXAMPLES).map(([key, one]) => [key, one.name])], "", chooseExample, { id: "example" });
  const wrong = messages([
    ["/expression", formula],
    ["/level", level],
    ["/data", area],
  ]);
  const plot = element("div", { class: "plot-holder", id: "curve" });
  const residuals = element("div", { class: "plot-holder", id: "residuals" });
  const legend = element("ul", { class: "legend" });
  const result = element("div", { class: "stack", id: "result" });
  const more = element("div", {});
  const pictures = element("div", {}, plot, legend, residuals);

  root.append(
    element("h1", {}, title),
    element("p", { class: "lead" }, "Least squares with exact derivatives: the parameters, and how well the data determine them."),
    element(
      "div",
      { class: "columns workbench" },
      element(
        "div",
        { class: "panel settings stack" },
        field("Examples", examples),
        element(
          "div",
          { class: "fields" },
          field("Table with a header", area, { wide: true, hint: "Separated by commas, tabs, blanks, or semicolons; with semicolons or tabs, decimal commas are read too." }),
          field("Formula", formula, { wide: true, hint: "A name that is no column is a parameter." }),
          rows,
          choices,
        ),
        button("Fit", () => run(), { class: "main", id: "fit" }),
      ),
      element("div", { class: "panel stack" }, wrong.box, result, pictures, more),
    ),
  );

  const plots = [fitted(plot, (width) => drawn && drawCurve(width)), fitted(residuals, (width) => drawn && drawResiduals(width))];
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
    area.value = context.state.csv;
    formula.value = context.state.expression;
    level.value = context.state.level ?? "";
    shownNames = null;
  }

  // --- the fields that follow from the table and the formula

  function showRows(parameters) {
    const put = (name, partial) => set({ parameters: { ...context.state.parameters, [name]: { ...parameterOf(context.state, name), ...partial } } });
    const input = (name, key, label) =>
      numberInput(parameterOf(context.state, name)[key], (number) => put(name, { [key]: number }), {
        "aria-label": label,
        optional: key !== "start",
        "data-parameter": `${name}.${key}`,
      });
    fill(
      rows,
      element(
        "table",
        { class: "parameters" },
        element("caption", { class: "unseen" }, "Parameters"),
        element("thead", {}, element("tr", {}, ["name", "start", "lower", "upper"].map((name) => element("th", { scope: "col" }, name)))),
        element(
          "tbody",
          {},
          parameters.map((name) =>
            element(
              "tr",
              {},
              element("th", { scope: "row", class: "code" }, name),
              element("td", {}, input(name, "start", `Start of ${name}`)),
              element("td", {}, input(name, "min", `Lower bound of ${name}`)),
              element("td", {}, input(name, "max", `Upper bound of ${name}`)),
            ),
          ),
        ),
      ),
    );
  }

  function showChoices(columns) {
    const { target, sigma, absolute, intervals, loss } = context.state;
    fill(
      choices,
      field("Fitted to the column", menu(columns, target, (value) => set({ target: value }), { id: "target" })),
      field("Standard deviations", menu([["", "all alike"], ...columns.filter((name) => name !== target).map((name) => [name, `column ${name}`])], sigma, (value) => set({ sigma: value }), { id: "sigma" })),
      field("Intervals", menu([["wald", "Wald"], "profile"], intervals, (value) => set({ intervals: value }), { id: "intervals" })),
      field("Level", level),
      field("Loss", menu(["linear", "soft_l1", "huber", "cauchy", "arctan"], loss, (value) => set({ loss: value }), { id: "loss" })),
      sigma && tickBox("They are known, not only up to a factor", absolute, (value) => set({ absolute: value })),
    );
  }

  function showFields(parameters, columns) {
    const names = JSON.stringify([parameters, columns, context.state.sigma !== "", context.state.target]);
    if (names === shownNames) return;
    const focused = document.activeElement;
    const place = focused?.dataset?.parameter ? `[data-parameter="${CSS.escape(focused.dataset.parameter)}"]` : focused?.id ? `#${CSS.escape(focused.id)}` : null;
    showRows(parameters);
    showChoices(columns);
    shownNames = names;
    if (place && document.activeElement !== focused) root.querySelector(place)?.focus();
  }

  // --- the fit

  async function run() {
    runSoon.cancel();
    asked.abort();
    asked = new AbortController();
    const { signal } = asked;
    root.dataset.phase = "running";
    try {
      const data = parseTable(context.state.csv, { formula: true });
      const { free } = await namesIn(call, context.state.expression, signal);
      const parameters = free.filter((name) => !Object.hasOwn(data.columns, name));
      const used = free.filter((name) => Object.hasOwn(data.columns, name));
      chooseColumns(data.names, used);
      showFields(parameters, data.names);
      const request = requestFor(data, parameters);
      const across = used.length === 1 ? used[0] : null;
      const grid = across && gridOver(data.columns[across]);
      context.snippets("/v1/fit", request);
      const answer = await call("/v1/fit", grid ? { ...request, predict: { [across]: grid } } : request, { signal });
      drawn = { answer, data, target: context.state.target, across, grid };
      wrong.clear();
      showResult();
      announce(`Fitted. R squared ${show(answer.r_squared, 5)}`);
    } catch (error) {
      if (error.name === "AbortError") return;
      complain(error);
    }
    root.dataset.phase = "done";
  }

  /** Choose a target that the formula does not use, where there is one, and no standard deviations that are no column. */
  function chooseColumns(columns, used) {
    const { target, sigma } = context.state;
    if (sigma && !columns.includes(sigma)) change({ sigma: "" });
    const left = columns.filter((name) => !used.includes(name) && name !== context.state.sigma);
    if (!left.includes(target) && (left.length || !columns.includes(target))) change({ target: left[0] ?? columns.at(-1) });
  }

  function requestFor(data, parameters) {
    const { expression, target, sigma, absolute, intervals, level: probability, loss } = context.state;
    if (!parameters.length) throw new Error("The formula has no parameter: all of its names are columns of the table. Add one, such as a in a*x.");
    const starts = parameters.map((name) => {
      const { start, min, max } = parameterOf(context.state, name);
      if (start === null) throw new Error(`The parameter ${name} needs a number to start at.`);
      return [name, min === null && max === null ? start : { start, ...(min === null ? {} : { min }), ...(max === null ? {} : { max }) }];
    });
    return {
      expression,
      data: data.columns,
      target,
      parameters: Object.fromEntries(starts),
      ...(sigma ? { sigma, absolute_sigma: absolute } : {}),
      ...(intervals === "wald" ? {} : { intervals }),
      ...(probability === 0.95 ? {} : { level: probability ?? 0.95 }),
      ...(loss === "linear" ? {} : { loss }),
    };
  }

  function complain(error) {
    drawn = null;
    pictures.hidden = true;
    fill(result);
    fill(more);
    context.snippets(null);
    if (error instanceof TableError) {
      tellTableError(wrong, error, area);
      area.setAttribute("aria-invalid", "true");
    } else wrong.tell(error);
  }

  // --- what came of it

  function showResult() {
    const { answer } = drawn;
    area.removeAttribute("aria-invalid");
    pictures.hidden = false;
    const names = Object.keys(answer.parameters);
    const part = `${show(100 * (context.state.level ?? 0.95), 4)} %`;
    const ends = (name) => answer.intervals?.[name] ?? [null, null];
    const kind = context.state.intervals === "profile" ? "profile" : "Wald";
    const parameters = names.map((name) => [name, element("b", { class: "number", "data-estimate": name }, precise(answer.parameters[name])), answer.standard_errors[name], ends(name)[0], ends(name)[1]]);
    const parts = [
      ["R squared", show(answer.r_squared, 7)],
      ["Residual standard deviation", show(answer.residual_standard_deviation, 6)],
      ["Residual sum of squares", show(answer.residual_sum_of_squares, 8)],
      ["Degrees of freedom", show(answer.degrees_of_freedom)],
      ["AIC", show(answer.aic)],
      ["BIC", show(answer.bic)],
    ];
    const correlation = names.map((a) => [a, ...names.map((b) => answer.correlation?.[a]?.[b] ?? null)]);
    const { names: columns, columns: values } = drawn.data;
    const points = values[drawn.target].map((observed, k) => [k + 1, ...columns.map((name) => values[name][k]), observed - answer.residuals[k], answer.residuals[k]]);
    fill(
      result,
      table("Parameters", ["parameter", "estimate", "standard error", `${part} from (${kind})`, "to"], parameters),
      element("p", { class: answer.converged ? "note" : "problem", id: "message" }, answer.converged ? "" : element("strong", {}, "Not converged. "), answer.message),
      element("dl", { class: "readout small" }, parts.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)))),
    );
    fill(
      more,
      numbers("Correlation of the parameters", table("Correlation of the parameters", ["", ...names], correlation)),
      numbers("Data, fitted values and residuals", table("Data, fitted values and residuals", ["row", ...columns, "fitted", "residual"], someOf(points))),
    );
    for (const one of plots) one.redraw();
  }

  const fittedValues = () => drawn.data.columns[drawn.target].map((observed, k) => observed - drawn.answer.residuals[k]);

  function drawCurve(width) {
    const { answer, data, target, across, grid } = drawn;
    const observed = data.columns[target];
    const height = Math.round(Math.min(Math.max(width * 0.6, 240), 400));
    const heading = `R squared ${show(answer.r_squared, 5)}.`;
    if (!grid) {
      const domain = padded(extent(observed, fittedValues()));
      const square = frame({
        width,
        height,
        title: "Observed against fitted",
        description: `${observed.length} points. ${heading}`,
        x: { domain, label: `fitted ${target}` },
        y: { domain, label: `observed ${target}` },
      });
      square.marks.append(line(domain.map((end) => [square.X(end), square.Y(end)]), { class: "curve" }));
      fittedValues().forEach((value, k) => square.marks.append(marker(square.X(value), square.Y(observed[k]), 1, { class: "point kind-0" })));
      fill(legend, element("li", { class: "swatch-curve" }, "observed = fitted"));
      return fill(plot, square.root);
    }
    const { value, confidence, prediction } = answer.predictions;
    const ends = (bands, k) => (bands ?? []).map((pair) => (pair ?? [null, null])[k]);
    const made = frame({
      width,
      height,
      title: `${target} by ${across}, with the fitted curve`,
      description: `${observed.length} points. ${heading}`,
      x: { domain: [grid[0], grid.at(-1)], label: across, hideTicks: false },
      y: { domain: padded(extent(observed, value, ends(prediction, 0), ends(prediction, 1))), label: target },
    });
    const along = (list) => list.map((y, k) => [made.X(grid[k]), y === null ? NaN : made.Y(y)]);
    const bands = [
      [prediction, "band", "prediction band"],
      [confidence, "band narrow", "confidence band"],
    ].filter(([list]) => ends(list, 0).some((end) => end !== null));
    for (const [list, kind] of bands) made.marks.append(band(along(ends(list, 0)), along(ends(list, 1)), { class: kind }));
    made.marks.append(line(along(value), { class: "curve" }));
    data.columns[across].forEach((x, k) => made.marks.append(marker(made.X(x), made.Y(observed[k]), 1, { class: "point kind-0" })));
    fill(
      legend,
      element("li", { class: "swatch-point" }, "data"),
      element("li", { class: "swatch-curve" }, "curve"),
      bands.reverse().map(([, kind, name]) => element("li", { class: `swatch-${kind.replace(" ", "-")}` }, name)),
    );
    return fill(plot, made.root);
  }

  function drawResiduals(width) {
    const { answer, data, across, grid } = drawn;
    const at = across ? data.columns[across] : fittedValues();
    const [low, high] = extent(answer.residuals);
    const size = Math.max(Math.abs(low), Math.abs(high)) * 1.15 || 1;
    const made = frame({
      width,
      height: 170,
      title: "Residuals",
      description: `Observed minus fitted, from ${show(low)} to ${show(high)}.`,
      x: { domain: grid ? [grid[0], grid.at(-1)] : padded(extent(at)), label: across ?? `fitted ${drawn.target}` },
      y: { domain: [-size, size], label: "residual" },
    });
    made.marks.append(shape("line", { class: "zero", x1: made.area.left, x2: made.area.right, y1: made.Y(0), y2: made.Y(0) }));
    at.forEach((x, k) => {
      const [px, py] = [made.X(x), made.Y(answer.residuals[k])];
      made.marks.append(shape("line", { class: "residual", x1: px, x2: px, y1: made.Y(0), y2: py }), marker(px, py, 1, { class: "point kind-0" }, 3.5));
    });
    fill(residuals, made.root);
  }

  showState();
  run();

  return {
    unmount() {
      runSoon.cancel();
      asked.abort();
      for (const one of plots) one.stop();
    },
  };
}
