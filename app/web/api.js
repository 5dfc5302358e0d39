// Calls of the service. An API key, where the service has any, is asked for once and kept in this module only.

/** The address of the service: the page may be below a prefix. */
export const BASE = new URL("..", import.meta.url);

/** An error as the service describes it (RFC 9457). `status` is 0 where the service was not reached. */
export class Problem extends Error {
  constructor({ status = 0, type = "about:blank", title = "Error", detail = "", errors = [] }) {
    super(detail || title);
    Object.assign(this, { status, type, title, detail, errors });
  }

  /** The last part of the type: "syntax-error". */
  get name() {
    return String(this.type).split("/").pop();
  }
}

let key = null;
let asking = null;
let askForKey = async () => null;

/** Say how to ask for a key: a function that resolves to one, or to null where the user gives none. */
export function setKeyPrompt(ask) {
  askForKey = ask;
}

/** Whether a key is in use. Snippets then read one from the environment; they never contain it. */
export const hasKey = () => key !== null;

async function request(path, body, accept, signal) {
  const url = new URL(path.replace(/^\//, ""), BASE);
  for (;;) {
    const used = key;
    const headers = { "Content-Type": "application/json" };
    if (accept) headers.Accept = accept;
    if (used !== null) headers.Authorization = `Bearer ${used}`;
    let response;
    try {
      const method = body === undefined ? "GET" : "POST";
      response = await fetch(url, { method, headers, body: JSON.stringify(body), signal, credentials: "omit" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({ title: "No connection", detail: "The service could not be reached. Is it running?" });
    }
    if (response.ok) return response;
    if (response.status === 401 && (await otherKey(used))) continue;
    throw await problemOf(response);
  }
}

/** Whether there is a key that the service has not refused yet. One dialog serves all requests that wait for it. */
async function otherKey(refused) {
  if (key !== refused) return true;
  asking ??= askForKey(refused !== null).finally(() => (asking = null));
  const given = await asking;
  if (given !== null) key = given;
  return given !== null;
}

async function problemOf(response) {
  try {
    return new Problem({ status: response.status, ...(await response.json()) });
  } catch {
    return new Problem({ status: response.status, title: response.statusText, detail: `The answer has status ${response.status}` });
  }
}

/** POST a body, or GET where it is undefined. Resolves to the JSON, the text, or for pictures and files the Blob. Throws Problem, or an AbortError. */
export async function call(path, body, { signal, accept } = {}) {
  const response = await request(path, body, accept, signal);
  const type = response.headers.get("content-type") ?? "";
  if (/^application\/([\w.-]+\+)?json/.test(type)) return response.json();
  return type.startsWith("text/") ? response.text() : response.blob();
}

/**
 * POST a body and read server-sent events: `onEvent(name, data)` is called for each, with its data read as JSON. Resolves when
 * the stream ends. An `error` event is thrown as a Problem.
 */
export async function stream(path, body, onEvent, { signal } = {}) {
  const response = await request(path, body, "text/event-stream", signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (!data.length) continue; // a comment that keeps the connection open
      const read = JSON.parse(data.join("\n"));
      if (name === "error") throw new Problem(read);
      onEvent(name, read);
    }
  }
}
