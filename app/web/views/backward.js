export const title = "Backward, step by step";
export const initial = {};

export function mount(root, { element }) {
  root.append(element("h1", {}, title), element("p", {}, "To be built."));
}
