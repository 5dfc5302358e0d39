// The state of a view in the fragment of the address: `#/NAME/STATE`, with the state as JSON in base64url, or `#/NAME/LESSON`.

/** The fragment of a view and its state. */
export function fragment(name, state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return `#/${name}/${btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/** The name and the state in a fragment; the state is null where there is none that can be read. `lesson` is its text. */
export function read(text) {
  const [, name = "", packed = ""] = text.replace(/^#/, "").split("/");
  try {
    const binary = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (c) => c.charCodeAt(0));
    const state = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return { name, state: kind(state) === "object" ? state : null, lesson: packed };
  } catch {
    return { name, state: null, lesson: packed };
  }
}

const kind = (value) => (Array.isArray(value) ? "array" : value === null ? "null" : typeof value);

/**
 * The state from a link, as far as it has the shape of the initial state: its fields only, each of the same kind. A field that
 * is null at first may be anything. Views check what is inside of objects and arrays.
 */
export function checked(initial, given) {
  const state = structuredClone(initial);
  for (const field of Object.keys(initial)) {
    if (given === null || !Object.hasOwn(given, field)) continue;
    if (initial[field] === null || kind(initial[field]) === kind(given[field])) state[field] = given[field];
  }
  return state;
}
