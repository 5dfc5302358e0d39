// A field for an expression: text, or MathJSON or a graph as JSON. What is wrong is underlined at its place.

import { element, fill } from "./dom.js";

/** What to send for a text: itself, or the JSON that it holds. Throws a SyntaxError with `line` and `column` for bad JSON. */
export function sourceOf(text) {
  if (!/^\s*[[{]/.test(text)) return text;
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw withPlace(error, text);
  }
  // A whole request or response may have been pasted.
  return value.expression ?? value.graph ?? value;
}

function withPlace(error, text) {
  const place = /line (\d+) column (\d+)/.exec(error.message);
  const position = /position (\d+)/.exec(error.message);
  const before = position ? text.slice(0, Number(position[1])).split("\n") : null;
  error.line = place ? Number(place[1]) : (before?.length ?? null);
  error.column = place ? Number(place[2]) : before ? before.at(-1).length + 1 : null;
  return error;
}

/** "text", "mathjson" or "graph". */
export const formOf = (source) => (typeof source === "string" ? "text" : Array.isArray(source) ? "mathjson" : "graph");

/**
 * A field, with a label for screen readers, and with a place for an error below. Returns its element and `value`, `set(text)`, and `fault(problem)`, which
 * takes a Problem, a SyntaxError of sourceOf(), or null.
 */
export function editor({ id, label, help, rows = 4, onInput }) {
  const area = element("textarea", {
    id,
    rows,
    spellcheck: "false",
    autocapitalize: "off",
    autocomplete: "off",
    wrap: "soft",
    "aria-describedby": `${id}-fault ${id}-help`,
    oninput: () => {
      mark(null);
      onInput(area.value);
    },
  });
  const mirror = element("div", { class: "mirror", "aria-hidden": "true" });
  const fault = element("div", { id: `${id}-fault`, class: "fault" });
  area.addEventListener("scroll", () => (mirror.scrollTop = area.scrollTop));
  const box = element(
    "div",
    { class: "editor" },
    element("label", { for: id, class: "unseen" }, label),
    element("div", { class: "sheet" }, mirror, area),
    fault,
    element("p", { id: `${id}-help`, class: "note" }, help),
  );

  function mark(place) {
    if (!place) {
      mirror.replaceChildren();
      return;
    }
    const lines = area.value.split("\n");
    const line = lines[place.line - 1] ?? "";
    const letters = Array.from(line); // columns count characters, not UTF-16 units
    const before = letters.slice(0, place.column - 1).join("");
    const rest = letters.slice(place.column - 1).join("");
    const word = /^([\p{L}_][\p{L}\p{N}_]*|[\d.]+|.)/u.exec(rest)?.[0] ?? "";
    const above = lines.slice(0, place.line - 1).map((text) => text + "\n");
    const mark = element("mark", {}, word || "\u00a0\u00a0");
    fill(mirror, above.join("") + before, mark, rest.slice(word.length) + "\n" + lines.slice(place.line).join("\n"));
    mirror.scrollTop = area.scrollTop;
  }

  return {
    element: box,
    area,
    get value() {
      return area.value;
    },
    set(text) {
      if (area.value !== text) area.value = text;
      mark(null);
    },
    fault(problem) {
      if (!problem) {
        area.removeAttribute("aria-invalid");
        mark(null);
        fault.replaceChildren();
        return;
      }
      area.setAttribute("aria-invalid", "true");
      const text = problem.detail || problem.message;
      const found = /^line (\d+), column (\d+): /.exec(text);
      const place = found
        ? { line: Number(found[1]), column: Number(found[2]) }
        : problem.line
          ? { line: problem.line, column: problem.column }
          : null;
      mark(place);
      const pointer = problem.errors?.[0]?.pointer;
      const where = pointer?.startsWith("/expression/") ? ` (at ${pointer.slice("/expression".length)})` : "";
      const title = problem.title ?? "The text is not JSON";
      fill(fault, element("p", { class: "problem" }, element("strong", {}, title), ": ", text + where));
    },
  };
}
