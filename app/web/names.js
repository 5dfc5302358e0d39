// The names in an expression, as the service reads it.

/**
 * Resolves to `{ free, assigned }`: the names that have no number yet, and those that the text assigns, in order of their first use. Throws what
 * `call` throws.
 */
export async function namesIn(call, expression, signal) {
  const { graph } = await call("/v1/parse", { expression }, { signal });
  const isFree = (node) => node.op === "value" && node.data === undefined;
  const free = graph.nodes.filter(isFree).map((node) => node.id);
  const known = graph.nodes.filter((node) => !isFree(node)).map((node) => node.id);
  const first = (name) => expression.search(new RegExp(`(?<![\\p{L}\\p{N}_])${name}(?![\\p{L}\\p{N}_])`, "u"));
  const isName = (id) => /^[\p{L}_][\p{L}\p{N}_]*$/u.test(id) && first(id) >= 0;
  const sorted = (names) => [...names].sort((a, b) => first(a) - first(b));
  return { free: sorted(free), assigned: sorted(known.filter(isName)) };
}
