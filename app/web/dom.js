// Elements, numbers and small timing functions. Nothing here reads text as HTML.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "line", "rect", "circle", "polyline", "polygon", "text", "desc", "tspan"]);

const PROPERTIES = new Set(["value", "checked", "selected", "disabled", "open", "indeterminate", "hidden"]);

/**
 * A new element. Attributes: `on...` with a function is a listener; `class`, `aria-...`, `data-...` and so on are set as they
 * are; true sets an empty attribute, and false, null or undefined none; those in PROPERTIES are properties; `style` is an object of CSS properties, set one by one as the content security policy allows.
 * Children are nodes, strings, numbers, or lists of them; null, undefined and false are left out. With `xmlns: "svg"` the tag is
 * one of SVG's; those that HTML does not have are so by themselves.
 */
export function element(tag, attributes = {}, ...children) {
  const { xmlns, ...rest } = attributes ?? {};
  const isSvg = xmlns === "svg" || SVG_TAGS.has(tag);
  const made = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(rest)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on") && typeof value === "function") made.addEventListener(name.slice(2).toLowerCase(), value);
    else if (name === "style" && typeof value === "object") for (const [p, v] of Object.entries(value)) made.style.setProperty(p, v);
    else if (PROPERTIES.has(name) && !isSvg) made[name] = value;
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false) made.setAttribute(name, value);
  }
  append(made, children);
  return made;
}

function append(parent, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(parent, child);
    else if (child !== null && child !== undefined && child !== false) parent.append(child);
  }
}

/** Replace the children of an element. */
export function fill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
  return parent;
}

/** A number for people: some significant digits, a true minus sign, and "–" for null. */
export function show(number, digits = 6) {
  if (number === null || number === undefined) return "–";
  const size = Math.abs(number);
  let text = number === 0 ? "0" : String(Number(number.toPrecision(digits)));
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) text = number.toExponential(Math.min(digits - 1, 4)).replace(/\.?0+e/, "e");
  return text.replace("e+", "e").replaceAll("-", "−");
}

/** A function that calls another one once nobody has called it for some milliseconds. `.cancel()` forgets a call that waits. */
export function debounced(milliseconds, action) {
  let timer = 0;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Whether the reader asked for less motion. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Put a text on the clipboard. Without the permission, or without TLS, an old way is tried. Says whether it worked. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", { class: "unseen", "aria-hidden": "true" });
    field.value = text;
    const before = document.activeElement;
    document.body.append(field);
    field.select();
    const worked = document.execCommand("copy");
    field.remove();
    before?.focus?.();
    return worked;
  }
}

/** A button that copies what a function returns, and says so. */
export function copyButton(label, text, announce) {
  const button = element("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    const worked = await copy(text());
    button.textContent = worked ? "Copied" : "Copying failed";
    announce(worked ? "Copied to the clipboard" : "Copying failed; select the text and copy it");
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** The markup of the service as nodes of this page: parsed apart, and stripped of everything that is not in the lists. */
export function imported(markup, root, tags, attributes) {
  const parsed = new DOMParser().parseFromString(markup, root === "svg" ? "image/svg+xml" : "application/xml");
  const top = parsed.documentElement;
  if (top.localName !== root || parsed.querySelector("parsererror")) return null;
  const space = root === "svg" ? SVG : "http://www.w3.org/1998/Math/MathML";
  const copied = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE || !tags.has(node.localName)) return null;
    const made = document.createElementNS(space, node.localName);
    for (const { name, value } of node.attributes) if (attributes.has(name)) made.setAttribute(name, value);
    for (const child of node.childNodes) {
      const clean = copied(child);
      if (clean) made.append(clean);
    }
    return made;
  };
  return copied(top);
}
