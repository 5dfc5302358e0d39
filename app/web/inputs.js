// A slider with an editable number and range for each input of an expression.

import { element, fill, show } from "./dom.js";

const MOST = 24;

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/** The row [value, least, greatest] of an input, from a state that may be anything, or else from a value. */
export function rowOf(given, value = 1) {
  const number = Array.isArray(given) && isNumber(given[0]) ? given[0] : value;
  const reach = Math.max(5, 10 ** Math.ceil(Math.log10(Math.abs(number) || 1)));
  const [, low, high] = Array.isArray(given) ? given : [];
  const isRange = isNumber(low) && isNumber(high) && low < high;
  return [number, isRange ? Math.min(low, number) : -reach, isRange ? Math.max(high, number) : reach];
}

/** Values by name. As JSON, the same whatever the names are. */
export const valuesOf = (rows) => Object.fromEntries([...rows].map(([name, [value]]) => [name, value]));

/** A step of 1, 2 or 5 times a power of ten, of which a range has a few hundred. */
function stepOf(low, high) {
  const wanted = (high - low) / 200;
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5].map((k) => k * power).find((step) => step >= wanted * 0.999) ?? 10 * power;
}

const tidy = (number) => Number(number.toPrecision(12));

/** The rows of all inputs, in an element. `onChange(name, row)` is called with each change; `draw(rows)` shows other rows. */
export function sliders(id, onChange) {
  const list = element("div", { class: "sliders" });
  let shown = new Map();

  function draw(rows) {
    const names = [...rows.keys()].slice(0, MOST);
    if (names.length !== shown.size || names.some((name) => !shown.has(name))) {
      shown = new Map(names.map((name, k) => [name, slider(`${id}-${k}`, name)]));
      fill(
        list,
        [...shown.values()].map((one) => one.element),
        rows.size > MOST && element("p", { class: "note" }, `${rows.size - MOST} more inputs have the value that they began with.`),
        rows.size === 0 && element("p", { class: "note" }, "The expression has no inputs."),
      );
    }
    for (const [name, one] of shown) one.set(rows.get(name));
  }

  function slider(id, name) {
    let row = [0, 0, 1];
    const range = element("input", { type: "range", id: `${id}-range`, "aria-label": `${name}, slider` });
    const field = (kind, label) =>
      element("input", { type: "number", step: "any", id: `${id}-${kind}`, class: kind, "aria-label": label, inputmode: "decimal" });
    const number = field("value", `${name}, value`);
    const low = field("low", `${name}, least value of the slider`);
    const high = field("high", `${name}, greatest value of the slider`);
    const box = element(
      "div",
      { class: "slider" },
      element("label", { for: `${id}-value`, class: "name", title: name }, name),
      number,
      low,
      range,
      high,
    );
    const put = (next) => {
      set(next);
      onChange(name, row);
    };
    range.addEventListener("input", () => put([tidy(range.valueAsNumber), row[1], row[2]]));
    number.addEventListener("input", () => {
      if (isNumber(number.valueAsNumber)) put(rowOf([number.valueAsNumber, row[1], row[2]]));
    });
    for (const end of [low, high]) {
      end.addEventListener("change", () => {
        const [a, b] = [low.valueAsNumber, high.valueAsNumber];
        if (isNumber(a) && isNumber(b) && a < b) put([Math.min(Math.max(row[0], a), b), a, b]);
        else set(row); // a range needs two ends, in order
      });
    }
    for (const one of [number, low, high]) one.addEventListener("blur", () => set(row));

    function set(next) {
      row = next;
      range.min = row[1];
      range.max = row[2];
      range.step = stepOf(row[1], row[2]);
      range.value = row[0];
      range.setAttribute("aria-valuetext", show(row[0]));
      for (const [one, value] of [[number, row[0]], [low, row[1]], [high, row[2]]]) {
        if (document.activeElement !== one || one.valueAsNumber !== value) if (Number(one.value) !== value || one.value === "") one.value = value;
      }
    }

    return { element: box, set };
  }

  return { element: list, draw };
}
