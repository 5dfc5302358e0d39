// The shell: navigation, the state in the address, the theme, the key and "Copy as". Views are modules in views/.
//
// A view exports `title`, `initial` (a state that is JSON) and `mount(root, context)`, which may return
// `{ update(state), unmount() }`. It may export `stylesheet`, the name of a file beside it, and `lessons`,
// states by name, to which `#/NAME/LESSON` leads. The context:
//
//   state                       the state now; do not change it, call change()
//   change(partial, {push})     merge into the state and write the address; with push, a new entry of the history
//   call(path, body, {signal, accept})        as in api.js
//   stream(path, body, onEvent, {signal})     as in api.js
//   snippets(path, body, {accept})            what "Copy as" copies; null for nothing
//   announce(text)              tell screen readers
//   element(tag, attributes, ...children)     as in dom.js

import { call, hasKey, setKeyPrompt, stream } from "./api.js";
import { element, fill } from "./dom.js";
import { takeaway } from "./snippets.js";
import { checked, fragment, read } from "./state.js";

const VIEWS = new Map([
  ["expression", "Expression"],
  ["backward", "Backward"],
  ["network", "Network"],
  ["fit", "Fit"],
  ["uncertainty", "Uncertainty"],
]);
const WRITE_EVERY = 200; // milliseconds: browsers refuse to write the address too often

const place = (id) => document.getElementById(id);
const states = new Map(); // the last state of each view, for those who come back to it
let shown = null; // { name, view, handle, context }
let navigation = 0;

function announce(text) {
  place("announcer").textContent = "";
  requestAnimationFrame(() => (place("announcer").textContent = text));
}

// --- the state in the address

let writing = 0;
let lastWrite = 0;

function write({ push = false } = {}) {
  clearTimeout(writing);
  writing = 0;
  lastWrite = performance.now();
  history[push ? "pushState" : "replaceState"](null, "", fragment(shown.name, states.get(shown.name)));
}

function writeSoon() {
  if (writing) return;
  const wait = lastWrite + WRITE_EVERY - performance.now();
  if (wait <= 0) write();
  else writing = setTimeout(write, wait);
}

function flush() {
  if (writing) write();
}

async function navigate() {
  clearTimeout(writing); // what waits to be written belongs to another entry of the history
  writing = 0;
  const turn = ++navigation;
  const wanted = read(location.hash);
  const name = VIEWS.has(wanted.name) ? wanted.name : "expression";
  const stateIn = (view) => {
    const lesson = Object.hasOwn(view.lessons ?? {}, wanted.lesson) ? view.lessons[wanted.lesson] : null;
    return checked(view.initial, wanted.state ?? lesson ?? states.get(name) ?? null);
  };
  if (shown?.name === name) {
    const state = stateIn(shown.view);
    states.set(name, state);
    if (shown.handle?.update) shown.handle.update(state);
    else show(name, shown.view);
    if (wanted.state === null) write();
    return;
  }
  mark(name);
  let view;
  try {
    view = await import(`./views/${name}.js`);
  } catch (error) {
    if (turn === navigation) fill(place("view"), element("p", { class: "problem" }, "This view could not be loaded. Reload the page."));
    throw error;
  }
  if (view.stylesheet) await stylesheet(new URL(`./views/${view.stylesheet}`, import.meta.url).href);
  if (turn !== navigation) return;
  states.set(name, stateIn(view));
  const isFirst = shown === null;
  show(name, view);
  write();
  if (!isFirst) {
    place("main").focus({ preventScroll: true });
    scrollTo(0, 0);
    announce(view.title);
  }
}

function show(name, view) {
  shown?.handle?.unmount?.();
  const root = element("div", { class: `view ${name}` });
  offer(null);
  fill(place("view"), root);
  const mine = { name, view, handle: null };
  const isMine = () => shown === mine;
  const context = {
    get state() {
      return states.get(name);
    },
    change(partial, { push = false } = {}) {
      if (push && isMine()) flush(); // the state before, to its own entry
      states.set(name, { ...states.get(name), ...partial });
      if (!isMine()) return;
      if (push) write({ push });
      else writeSoon();
    },
    call,
    stream,
    snippets(path, body, options) {
      if (isMine()) offer(path, body, options);
    },
    announce,
    element,
  };
  shown = mine;
  document.title = `${view.title} – autodiff playground`;
  mine.handle = view.mount(root, context) ?? null;
}

function stylesheet(href) {
  if (document.querySelector(`link[href="${CSS.escape(href)}"]`)) return Promise.resolve();
  return new Promise((resolve) => {
    const link = element("link", { rel: "stylesheet", href, onload: resolve, onerror: resolve });
    document.head.append(link);
  });
}

function mark(name) {
  for (const link of place("views").children) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

// --- "Copy as"

const offer = takeaway(place("takeaway"), { announce, hasKey });

// --- the theme

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function chosenTheme() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null; // no storage here
  }
}

function applyTheme(theme) {
  const isDark = theme ? theme === "dark" : systemIsDark.matches;
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
  fill(place("theme"), element("span", { "aria-hidden": "true" }, isDark ? "☀" : "☾"), isDark ? " Light" : " Dark");
  place("theme").setAttribute("aria-label", isDark ? "Use light colours" : "Use dark colours");
}

place("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // no storage here
  }
  applyTheme(theme);
});
systemIsDark.addEventListener("change", () => applyTheme(chosenTheme()));
applyTheme(chosenTheme());

// --- the key

setKeyPrompt(
  (refused) =>
    new Promise((resolve) => {
      const dialog = place("key-dialog");
      const field = place("key");
      let given = null;
      field.value = "";
      place("key-help").textContent = refused
        ? "The service did not accept that key. Try another one."
        : "This service has API keys. The page keeps yours in memory only, until you close or reload it.";
      place("key-form").onsubmit = (event) => {
        event.preventDefault();
        given = field.value.trim() || null;
        dialog.close();
      };
      place("key-cancel").onclick = () => dialog.close();
      dialog.onclose = () => {
        field.value = "";
        resolve(given);
      };
      dialog.showModal();
      field.focus();
    }),
);

// --- start

for (const [name, title] of VIEWS) {
  place("views").append(element("a", { href: `#/${name}`, "data-view": name }, title));
}
place("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment is the state
  place("main").focus();
});
addEventListener("hashchange", navigate);
addEventListener("pagehide", flush);
navigate();
