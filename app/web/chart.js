// Plots as SVG, drawn at the width that they have on the page, so that their text keeps its size. Each has a title and a
// description for screen readers; views put a table of the numbers beside it.

import { element, show } from "./dom.js";

let made = 0;

/** An element of SVG. */
export const shape = (tag, attributes, ...children) => element(tag, { xmlns: "svg", ...attributes }, ...children);

/**
 * Call `draw(width)` now, and again whenever the width of the holder or the theme changes. Returns `redraw()`, for other news, and `stop()`.
 */
export function fitted(holder, draw) {
  let width = 0;
  let waiting = 0;
  const redraw = () => {
    waiting = 0;
    if (width) draw(width);
  };
  const later = () => (waiting ||= requestAnimationFrame(redraw));
  const sizes = new ResizeObserver(() => {
    const found = Math.floor(holder.clientWidth);
    if (found === width) return;
    width = found;
    later();
  });
  sizes.observe(holder);
  const theme = new MutationObserver(later);
  theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
  return {
    redraw: later,
    stop() {
      cancelAnimationFrame(waiting);
      sizes.disconnect();
      theme.disconnect();
    },
  };
}

/** The smallest and the largest of numbers, without those that are null or not finite; [0, 1] where there are none. */
export function extent(...lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const number of list) {
      if (number === null || !Number.isFinite(number)) continue;
      low = Math.min(low, number);
      high = Math.max(high, number);
    }
  }
  return low <= high ? [low, high] : [0, 1];
}

/** An interval made wider on both sides by a part of its length; one of length 0 gets some. */
export function padded([low, high], part = 0.05) {
  const more = (high - low) * part || Math.abs(high) * 0.1 || 1;
  return [low - more, high + more];
}

/** Round numbers in an interval, about so many. */
export function ticks([low, high], count) {
  const rough = (high - low) / Math.max(count, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function logTicks([low, high]) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low) - 1e-9); power <= Math.log10(high) + 1e-9; power++) found.push(10 ** power);
  return found.length > 1 ? found : ticks([low, high], 4).filter((tick) => tick > 0);
}

function scale({ domain, log = false }, from, to) {
  const place = log ? Math.log10 : (number) => number;
  const [low, high] = domain.map(place);
  return (number) => from + ((place(number) - low) / (high - low || 1)) * (to - from);
}

/**
 * An empty plot. `x` and `y` are `{ domain: [low, high], label, log, hideTicks }`. Returns `{ root, marks, X, Y, area }`: the svg, the group for
 * what is drawn, which is clipped, the functions from numbers to pixels, and the edges of the area.
 */
export function frame({ width, height, title, description, x, y, left = 58, right = 14, top = 12, bottom = x.hideTicks ? 10 : 44 }) {
  const id = `plot-${++made}`;
  const area = { left, right: width - right, top, bottom: height - bottom };
  const X = scale(x, area.left, area.right);
  const Y = scale(y, area.bottom, area.top);
  const marks = shape("g", { "clip-path": `url(#${id}-clip)` });
  const root = shape(
    "svg",
    { class: "plot", role: "img", width, height, viewBox: `0 0 ${width} ${height}`, "aria-labelledby": `${id}-title ${id}-desc` },
    shape("title", { id: `${id}-title` }, title),
    shape("desc", { id: `${id}-desc` }, description),
    shape(
      "clipPath",
      { id: `${id}-clip` },
      shape("rect", { x: area.left - 5, y: area.top - 5, width: Math.max(area.right - area.left, 0) + 10, height: area.bottom - area.top + 10 }),
    ),
    axes({ x, y, X, Y, area, height }),
    marks,
  );
  return { root, marks, X, Y, area };
}

function axes({ x, y, X, Y, area, height }) {
  const across = x.log ? logTicks(x.domain) : ticks(x.domain, Math.max(2, Math.min(7, (area.right - area.left) / 75)));
  const up = y.log ? logTicks(y.domain) : ticks(y.domain, Math.max(4, (area.bottom - area.top) / 55));
  const middle = (area.top + area.bottom) / 2;
  return shape(
    "g",
    { class: "axes", "aria-hidden": "true" },
    up.map((tick) => shape("line", { class: "grid", x1: area.left, x2: area.right, y1: Y(tick), y2: Y(tick) })),
    up.map((tick) => shape("text", { x: area.left - 8, y: Y(tick) + 4, "text-anchor": "end" }, show(tick, 5))),
    shape("line", { class: "axis", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }),
    !x.hideTicks && across.map((tick) => shape("line", { class: "axis", x1: X(tick), x2: X(tick), y1: area.bottom, y2: area.bottom + 5 })),
    !x.hideTicks && across.map((tick) => shape("text", { x: X(tick), y: area.bottom + 19, "text-anchor": "middle" }, show(tick, 5))),
    !x.hideTicks && shape("text", { class: "name", x: (area.left + area.right) / 2, y: height - 6, "text-anchor": "middle" }, x.label),
    y.label && shape("text", { class: "name", "text-anchor": "middle", transform: `translate(13 ${middle}) rotate(-90)` }, y.label),
  );
}

const at = (number) => number.toFixed(1);

/** A line through points in pixels; a point with null or NaN breaks it. */
export function line(points, attributes) {
  let pen = "M";
  let path = "";
  for (const [x, y] of points) {
    if (!Number.isFinite(x) || !Number.isFinite(y)) pen = "M";
    else {
      path += `${pen}${at(x)} ${at(y)}`;
      pen = "L";
    }
  }
  return shape("path", { fill: "none", ...attributes, d: path });
}

/** The area between two lines of as many points. */
export function band(lower, upper, attributes) {
  const points = [...lower, ...[...upper].reverse()].filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  return shape("path", { ...attributes, d: points.map(([x, y], k) => `${k ? "L" : "M"}${at(x)} ${at(y)}`).join("") + "Z" });
}

const OUTLINES = [
  (r) => `M0 ${-1.2 * r}L${1.1 * r} ${0.8 * r}L${-1.1 * r} ${0.8 * r}Z`,
  (r) => `M${-r} 0A${r} ${r} 0 1 0 ${r} 0A${r} ${r} 0 1 0 ${-r} 0Z`,
  (r) => `M${-0.9 * r} ${-0.9 * r}H${0.9 * r}V${0.9 * r}H${-0.9 * r}Z`,
  (r) => `M0 ${-1.3 * r}L${1.1 * r} 0L0 ${1.3 * r}L${-1.1 * r} 0Z`,
];

/** A point: each class of points has its own outline as well as its own colour. */
export function marker(x, y, kind, attributes = {}, radius = 4.5) {
  return shape("path", { ...attributes, d: OUTLINES[kind % OUTLINES.length](radius), transform: `translate(${at(x)} ${at(y)})` });
}

/** Where a function on a grid is 0, as the `d` of a path: `values` row by row, `X` and `Y` from a column or row to pixels. */
export function zeroLine(values, columns, rows, X, Y) {
  let path = "";
  const value = (c, r) => values[r * columns + c];
  for (let r = 0; r + 1 < rows; r++) {
    for (let c = 0; c + 1 < columns; c++) {
      const corners = [[c, r], [c + 1, r], [c + 1, r + 1], [c, r + 1]];
      const crossed = [];
      corners.forEach(([c0, r0], k) => {
        const [c1, r1] = corners[(k + 1) % 4];
        const [a, b] = [value(c0, r0), value(c1, r1)];
        if (a > 0 === b > 0) return;
        const part = a / (a - b);
        crossed.push(`${at(X(c0 + part * (c1 - c0)))} ${at(Y(r0 + part * (r1 - r0)))}`);
      });
      for (let k = 0; k + 1 < crossed.length; k += 2) path += `M${crossed[k]}L${crossed[k + 1]}`;
    }
  }
  return path;
}

/** Three numbers from 0 to 255 in a custom property of CSS such as `--cool: 10 92 143`. */
export function colour(name, node = document.documentElement) {
  return getComputedStyle(node).getPropertyValue(name).trim().split(/\s+/).map(Number);
}

/** Paint a grid on a canvas: `colours(k)` gives three numbers from 0 to 255 for the cell k. Row 0 is at the bottom. */
export function paintGrid(canvas, columns, rows, colours) {
  canvas.width = columns;
  canvas.height = rows;
  const image = new ImageData(columns, rows);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const [red, green, blue] = colours(r * columns + c);
      image.data.set([red, green, blue, 255], 4 * ((rows - 1 - r) * columns + c));
    }
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
