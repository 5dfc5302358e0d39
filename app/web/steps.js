// The steps of the forward and the backward pass of a graph, from the answer of /v1/graph. No page is needed here.

const SIGNS = { add: "+", sub: "−", mul: "×", divide: "÷", div: "÷", pow: "**" };

/** A formula of an operation with these arguments: "a + b", "tanh(n)". */
function applied(op, args) {
  if (op === "neg") return `−${args[0]}`;
  return SIGNS[op] && args.length === 2 ? args.join(` ${SIGNS[op]} `) : `${op}(${args.join(", ")})`;
}

/**
 * All steps of a graph whose output is the row `output`; `isConstant` says of each row whether it stands for a number among the
 * arguments, and `written` writes a number. Each step has `text`; `phase`, "Forward" or "Backward"; `known`, the nodes with a value; `sums`, what has arrived at
 * each node so far; `complete`, the nodes at which everything has; `passed`, the edges that have been used; and what it
 * is about: `node`, `from` (where the gradient comes from), `edges`, and `parts` of the product for one edge.
 *
 * The nodes are in topological order, so that in the reverse order every node has its whole gradient before it passes it on.
 */
export function stepsOf(graph, output, isConstant, written) {
  const { nodes, edges } = graph;
  const number = new Map(nodes.map((node, k) => [node.id, k]));
  const into = nodes.map(() => []);
  edges.forEach((edge, e) => into[number.get(edge.to)].push(e));
  const name = (k) => (isConstant[k] ? written(nodes[k].data) : (nodes[k].label ?? nodes[k].id));
  const leaves = nodes.flatMap((node, k) => (node.is_leaf ? [k] : []));
  const given = leaves.filter((k) => !isConstant[k]).map((k) => `${name(k)} = ${written(nodes[k].data)}`);
  const steps = [];
  let state = { known: new Set(), sums: new Map(), complete: new Set(), passed: new Set() };

  const add = (phase, text, about) => steps.push({ node: null, from: null, edges: [], parts: null, ...state, ...about, phase, text });

  state = { ...state, known: new Set(leaves) };
  add("Start", given.length ? `The inputs have their values: ${given.join(", ")}.` : "There are numbers only, no inputs.", {});
  nodes.forEach((node, k) => {
    if (node.is_leaf) return;
    state = { ...state, known: new Set(state.known).add(k) };
    const sources = into[k].map((e) => number.get(edges[e].from));
    const symbols = applied(node.op, sources.map(name));
    const numbers = applied(node.op, sources.map((s) => (nodes[s].data < 0 ? `(${written(nodes[s].data)})` : written(nodes[s].data))));
    add("Forward", `${name(k)} = ${symbols} = ${numbers} = ${written(node.data)}`, { node: k, edges: into[k] });
  });

  const waiting = reached(output, into, edges, number);
  state = { ...state, sums: new Map([[output, 1]]), complete: new Set([output]) };
  add("Backward", `The gradient of the output ${name(output)} by itself is 1. From here it goes back.`, { node: output });
  for (let k = nodes.length - 1; k >= 0; k--) {
    if (!waiting.has(k)) continue;
    if (k !== output) state = { ...state, complete: new Set(state.complete).add(k) };
    // Numbers among the arguments get a gradient too, which nobody needs: no steps are spent on them.
    const idle = into[k].filter((e) => isConstant[number.get(edges[e].from)]);
    if (idle.length) state = { ...state, passed: new Set([...state.passed, ...idle]) };
    for (const e of into[k]) {
      const s = number.get(edges[e].from);
      if (isConstant[s]) continue;
      const [local, upstream] = [edges[e].local_gradient, state.sums.get(k)];
      const contribution = local === 0 ? 0 : local * upstream;
      const before = state.sums.get(s);
      const sum = (before ?? 0) + contribution;
      waiting.get(s).delete(e);
      const isWhole = waiting.get(s).size === 0;
      state = { ...state, sums: new Map(state.sums).set(s, sum), passed: new Set(state.passed).add(e) };
      if (isWhole) state = { ...state, complete: new Set(state.complete).add(s) };
      const product = `${factor(written(local))} × ${factor(written(upstream))} = ${written(contribution)}`;
      const soFar = before === undefined ? `sum so far ${written(sum)}` : `sum so far ${written(before)} + ${factor(written(contribution))} = ${written(sum)}`;
      add("Backward", `${name(k)} → ${name(s)}: local × upstream = ${product}; ${soFar}${isWhole ? ", complete" : ""}`, {
        node: s,
        from: k,
        edges: [e],
        parts: {
          local: written(local),
          upstream: written(upstream),
          contribution: written(contribution),
          sum: written(sum) + (isWhole ? "" : " …"),
          from: name(s),
          to: name(k),
          output: name(output),
          telling: `From ${name(k)} to ${name(s)}${isWhole ? `; then ${name(s)} has everything` : `; ${name(s)} still waits for more`}`,
        },
      });
    }
  }
  const found = leaves.filter((k) => !isConstant[k]).map((k) => `${name(k)} ${written(nodes[k].grad)}`);
  state = { ...state, complete: new Set(nodes.keys()) };
  add("Done", found.length ? `The gradients of the inputs: ${found.join(", ")}.` : "There are no inputs, so there is no gradient.", {});
  return steps;
}

const factor = (text) => (text.startsWith("−") ? `(${text})` : text);

/** The nodes on which the output depends, each with the edges through which gradients will arrive. */
function reached(output, into, edges, number) {
  const waiting = new Map([[output, new Set()]]);
  for (let k = output; k >= 0; k--) {
    if (!waiting.has(k)) continue;
    for (const e of into[k]) {
      const s = number.get(edges[e].from);
      if (!waiting.has(s)) waiting.set(s, new Set());
      waiting.get(s).add(e);
    }
  }
  return waiting;
}
