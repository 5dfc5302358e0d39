// "Copy as": the request that a view registered, as source code that runs as it is pasted.

import { BASE } from "./api.js";
import { copyButton, element, fill } from "./dom.js";

const WIDTH = 76;

/** A JSON value as a literal, on lines of its own where it is long. `style` says how the language writes things. */
function literal(value, style, indent = "") {
  if (value === null) return style.null;
  if (typeof value === "boolean") return style.booleans[Number(value)];
  if (typeof value === "number") return style.number(String(value === 0 ? 0 : value));
  if (typeof value === "string") return style.text(JSON.stringify(value));
  const isList = Array.isArray(value);
  const [open, close] = isList ? style.list : style.map;
  const pairs = isList ? value.map((v) => ["", v]) : Object.entries(value).map(([name, v]) => [style.name(JSON.stringify(name)), v]);
  if (!pairs.length) return isList ? open + close : style.empty ?? open + close;
  const one = open + pairs.map(([name, v]) => name + literal(v, style)).join(", ") + close;
  if (one.length + indent.length <= WIDTH) return one;
  const deeper = indent + "  ";
  if (isList && value.every((v) => typeof v === "number")) return open + wrapped(value, style, deeper) + `\n${indent}${close}`;
  return open + pairs.map(([name, v]) => `\n${deeper}${name}${literal(v, style, deeper)}`).join(",") + `\n${indent}${close}`;
}

/** Numbers in lines that are filled. */
function wrapped(numbers, style, indent) {
  const lines = [""];
  numbers.forEach((number, k) => {
    const text = literal(number, style) + (k + 1 < numbers.length ? "," : "");
    if (lines.at(-1).length + text.length > WIDTH) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + text;
  });
  return lines.map((line) => `\n${indent}${line}`).join("");
}

const same = (text) => text;
const JSON_LIKE = { null: "null", booleans: ["false", "true"], number: same, text: same, list: ["[", "]"], map: ["{", "}"] };
const PYTHON = { ...JSON_LIKE, null: "None", booleans: ["False", "True"], name: (n) => `${n}: ` };
// In a literal of JavaScript, "__proto__" would set the prototype.
const JAVASCRIPT = { ...JSON_LIKE, name: (n) => `${n === '"__proto__"' ? `[${n}]` : n}: ` };
const R = {
  ...JSON_LIKE,
  null: "NULL",
  booleans: ["FALSE", "TRUE"],
  list: ["list(", ")"],
  map: ["list(", ")"],
  empty: "structure(list(), names = character())",
  name: (n) => `${n} = `,
};
const ELIXIR = {
  ...JSON_LIKE,
  null: "nil",
  number: (n) => (/^-?\d+e/.test(n) ? n.replace("e", ".0e") : n),
  text: (t) => t.replaceAll("#{", "\\#{"),
  map: ["%{", "}"],
  name: (n) => `${n.replaceAll("#{", "\\#{")} => `,
};

/** What to do with an answer of a media type: its kind, and the name of the file for what is not text. */
function answer(accept) {
  if (!accept || accept.includes("json")) return { kind: "json" };
  if (accept.startsWith("text/")) return { kind: "text" };
  return { kind: "file", file: `answer.${accept.split("/")[1].split("+")[0]}` };
}

const WRITERS = {
  curl(url, body, accept, key) {
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const { kind, file } = answer(accept);
    const lines = [`curl -sS ${quoted(url)}`, "-H 'Content-Type: application/json'"];
    if (accept) lines.push(`-H ${quoted(`Accept: ${accept}`)}`);
    if (key) lines.push('-H "Authorization: Bearer $AUTODIFF_KEY"');
    if (kind === "file") lines.push(`-o ${file}`);
    lines.push(`-d ${quoted(JSON.stringify(body))}`);
    return lines.join(" \\\n  ") + "\n";
  },

  python(url, body, accept, key) {
    const { kind, file } = answer(accept);
    const headers = ['"Content-Type": "application/json"'];
    if (accept) headers.push(`"Accept": ${JSON.stringify(accept)}`);
    if (key) headers.push('"Authorization": "Bearer " + os.environ["AUTODIFF_KEY"]');
    const read = {
      json: "    print(json.dumps(json.load(response), indent=2))\n",
      text: '    print(response.read().decode("utf-8"))\n',
      file: `    with open("${file}", "wb") as picture:\n        picture.write(response.read())\n`,
    };
    return `import json
${key ? "import os\n" : ""}import urllib.request

body = ${literal(body, PYTHON)}
request = urllib.request.Request(
  ${JSON.stringify(url)},
  json.dumps(body).encode(),
  {${headers.join(", ")}},
)
with urllib.request.urlopen(request) as response:
${read[kind]}`;
  },

  javascript(url, body, accept, key) {
    const { kind, file } = answer(accept);
    const headers = ['"Content-Type": "application/json"'];
    if (accept) headers.push(`Accept: ${JSON.stringify(accept)}`);
    if (key) headers.push("Authorization: `Bearer ${process.env.AUTODIFF_KEY}`");
    const read = {
      json: "console.log(await response.json());\n",
      text: "console.log(await response.text());\n",
      file: `const { writeFile } = await import("node:fs/promises");\nawait writeFile("${file}", Buffer.from(await response.arrayBuffer()));\n`,
    };
    return `const body = ${literal(body, JAVASCRIPT)};
const response = await fetch(${JSON.stringify(url)}, {
  method: "POST",
  headers: { ${headers.join(", ")} },
  body: JSON.stringify(body),
});
${read[kind]}`;
  },

  r(url, body, accept, key) {
    const { kind, file } = answer(accept);
    const steps = [`request(${JSON.stringify(url)})`, "req_body_json(body)"];
    if (accept) steps.push(`req_headers(Accept = ${JSON.stringify(accept)})`);
    if (key) steps.push('req_auth_bearer_token(Sys.getenv("AUTODIFF_KEY"))');
    steps.push(kind === "file" ? `req_perform(path = "${file}")` : "req_perform()");
    const read = { json: "str(resp_body_json(response))\n", text: "cat(resp_body_string(response))\n", file: "" };
    return `library(httr2)

body <- ${literal(body, R)}
response <- ${steps.join(" |>\n  ")}
${read[kind]}`;
  },

  elixir(url, body, accept, key) {
    const { kind, file } = answer(accept);
    const options = ["json: body"];
    if (accept) options.push(`headers: [accept: ${JSON.stringify(accept)}]`);
    if (key) options.push('auth: {:bearer, System.fetch_env!("AUTODIFF_KEY")}');
    const read = { json: "IO.inspect(response.body)\n", text: "IO.puts(response.body)\n", file: `File.write!("${file}", response.body)\n` };
    return `Mix.install([:req])

body = ${literal(body, ELIXIR)}
response = Req.post!(${JSON.stringify(url)}, ${options.join(", ")})
${read[kind]}`;
  },
};

export const LANGUAGES = { curl: "curl", python: "Python", javascript: "JavaScript", r: "R", elixir: "Elixir" };

/** A request as source code. With `key`, the code reads an API key from the environment variable AUTODIFF_KEY. */
export function snippet(language, path, body, { accept, key = false } = {}) {
  return WRITERS[language](new URL(path.replace(/^\//, ""), BASE).href, body, accept, key);
}

/** Build "Copy as" in a section. Returns the function that registers a request, or null for none. */
export function takeaway(section, { announce, hasKey }) {
  let offered = null;
  let language = "curl";
  const code = element("code");
  const title = element("h2", { id: "takeaway-title" }, "Copy as");
  const path = element("span", { class: "path" });
  const choices = element("div", { class: "choices", role: "group", "aria-label": "Language" });
  const block = element("pre", { tabindex: "0", role: "group", "aria-label": "The request as source code" }, code);

  function draw() {
    section.hidden = offered === null;
    for (const button of choices.children) button.setAttribute("aria-pressed", String(button.dataset.language === language));
    if (offered) code.textContent = snippet(language, offered.path, offered.body, { accept: offered.accept, key: hasKey() });
    path.textContent = offered ? `POST ${offered.path}` : "";
  }

  for (const [name, label] of Object.entries(LANGUAGES)) {
    const choose = () => {
      language = name;
      draw();
    };
    choices.append(element("button", { type: "button", "data-language": name, onclick: choose }, label));
  }
  const button = copyButton("Copy", () => code.textContent, announce);
  fill(section, element("div", { class: "row" }, title, path), element("div", { class: "row" }, choices, button), block);
  return (request, body, { accept } = {}) => {
    offered = request === null ? null : { path: request, body, accept };
    draw();
  };
}
