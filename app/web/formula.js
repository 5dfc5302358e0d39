// Typeset mathematics: the MathML of the service, and what the page puts before it.

import { imported } from "./dom.js";

const MATH = "http://www.w3.org/1998/Math/MathML";
const TAGS = new Set("math mrow mi mn mo mtext mspace mfrac msqrt mroot msup msub msubsup mover munder mtable mtr mtd mpadded mstyle".split(" "));
const ATTRIBUTES = new Set("mathvariant stretchy fence separator columnalign linethickness displaystyle scriptlevel width".split(" "));

function math(tag, ...children) {
  const made = document.createElementNS(MATH, tag);
  made.append(...children);
  return made;
}

/** The service's MathML as an element of this page, after "∂f/∂x =". Null if it is none. */
export function derivativeFormula(markup, output, input) {
  const formula = imported(markup, "math", TAGS, ATTRIBUTES);
  if (!formula) return null;
  for (const sign of formula.querySelectorAll("mo")) if (sign.textContent === "-") sign.textContent = "−";
  const fraction = math("mfrac", math("mrow", math("mo", "∂"), math("mi", output)), math("mrow", math("mo", "∂"), math("mi", input)));
  // Where parts are defined first, the derivative is the last row.
  const table = formula.querySelector("mtable");
  table?.setAttribute("displaystyle", "true");
  (table?.lastElementChild?.lastElementChild ?? formula).prepend(fraction, math("mo", "="));
  for (const cell of table?.querySelectorAll("mtd") ?? []) cell.setAttribute("class", "left");
  formula.setAttribute("display", "block");
  return formula;
}
