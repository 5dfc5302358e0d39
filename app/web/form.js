// Labelled fields, tables of numbers and messages, as the views Network, Fit and Uncertainty use them.

import { element, fill, show } from "./dom.js";

let made = 0;

/** A field with its label above it. `hint` is read with it. */
export function field(label, input, { hint, wide = false } = {}) {
  input.id ||= `field-${++made}`;
  const note = hint && element("span", { class: "note", id: `${input.id}-hint` }, hint);
  if (note) input.setAttribute("aria-describedby", note.id);
  return element("div", { class: wide ? "field wide" : "field" }, element("label", { for: input.id }, label), input, note);
}

/** An input of text. `onInput` gets what it holds. */
export function textInput(value, onInput, attributes = {}) {
  return element("input", { type: "text", value, spellcheck: "false", autocomplete: "off", ...attributes, oninput: (e) => onInput(e.target.value) });
}

/** An input of a number. `onInput` gets the number, or null where there is none; then the field is marked. */
export function numberInput(value, onInput, attributes = {}) {
  const { optional = false, ...rest } = attributes;
  const read = (event) => {
    const input = event.target;
    const isFine = input.validity.valid && (optional || input.value !== "");
    input.toggleAttribute("aria-invalid", !isFine);
    if (!isFine) input.setAttribute("aria-invalid", "true");
    onInput(isFine && input.value !== "" ? input.valueAsNumber : null);
  };
  const text = value && Math.abs(value) < 1e-4 ? value.toExponential() : (value ?? "");
  return element("input", { type: "number", step: "any", autocomplete: "off", ...rest, value: text, oninput: read });
}

/** A menu. `options` are values, or pairs of a value and its text. */
export function menu(options, value, onChange, attributes = {}) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  return element(
    "select",
    { ...attributes, onchange: (event) => onChange(event.target.value) },
    pairs.map(([key, text]) => element("option", { value: key, selected: key === value }, text)),
  );
}

/** A box to tick, with its label beside it. */
export function tickBox(label, checked, onChange) {
  const input = element("input", { type: "checkbox", checked, id: `field-${++made}`, onchange: (event) => onChange(event.target.checked) });
  return element("div", { class: "tick" }, input, element("label", { for: input.id }, label));
}

export const button = (text, action, attributes = {}) => element("button", { type: "button", ...attributes, onclick: action }, text);

/** All digits of a number that a float is trusted with, without zeros at the end. */
export const precise = (number) => (number === null ? "–" : String(Number(number.toPrecision(11))).replaceAll("-", "−"));

/** A table: `head` are the names of the columns, `rows` lists of nodes, texts and numbers. The first column names the rows. */
export function table(caption, head, rows, format = show) {
  const isNumber = (value) => typeof value === "number" || value === null;
  const cell = (value) => element("td", { class: isNumber(value) || typeof value === "string" ? "number" : null }, isNumber(value) ? format(value) : value);
  return element(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, head.map((name) => element("th", { scope: "col" }, name)))),
      element(
        "tbody",
        {},
        rows.map(([first, ...rest]) => element("tr", {}, element("th", { scope: "row", class: "code" }, typeof first === "number" ? show(first) : first), rest.map(cell))),
      ),
    ),
  );
}

/** What unfolds to show the numbers of a picture. */
export const numbers = (summary, content) => element("details", { class: "numbers" }, element("summary", {}, summary), content);

const MOST_ROWS = 50;

/** Some of the rows, evenly spread, with the first and the last. */
export function someOf(rows) {
  if (rows.length <= MOST_ROWS) return rows;
  return Array.from({ length: MOST_ROWS }, (_, k) => rows[Math.round((k * (rows.length - 1)) / (MOST_ROWS - 1))]);
}

/**
 * A place for what is wrong. `tell(error)` shows a Problem, a TableError or a text; `clear()` removes it. `places` are pairs of the beginning of a
 * JSON pointer and the field that it means, which is marked.
 */
export function messages(places = []) {
  const box = element("div", { class: "messages", role: "alert" });
  let marked = [];
  const clear = () => {
    for (const input of marked) input.removeAttribute("aria-invalid");
    marked = [];
    if (box.firstChild) fill(box);
  };
  const tell = (error, action) => {
    clear();
    const pointers = (error.errors ?? []).map((one) => one.pointer);
    for (const [beginning, input] of places) {
      if (!pointers.some((pointer) => pointer === beginning || pointer.startsWith(`${beginning}/`))) continue;
      input.setAttribute("aria-invalid", "true");
      marked.push(input);
    }
    const text = error.detail || error.message || String(error);
    fill(box, element("p", { class: "problem" }, error.title && element("strong", {}, `${error.title}: `), text, action && [" ", action]));
  };
  return { box, tell, clear };
}

/** Select a line of a textarea and bring it into view. */
export function goToLine(area, number) {
  const lines = area.value.split("\n");
  const start = lines.slice(0, number - 1).reduce((sum, line) => sum + line.length + 1, 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[number - 1]?.length ?? 0));
  area.scrollTop = Math.max(0, number - 3) * (area.scrollHeight / Math.max(lines.length, 1));
}

/** The message of a TableError, with a button that selects its line. */
export function tellTableError(place, error, area) {
  place.tell({ title: "The table cannot be read", detail: error.message }, button(`Go to line ${error.line}`, () => goToLine(area, error.line)));
}
