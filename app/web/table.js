// Pasted text as columns of numbers: commas, semicolons (with decimal commas), tabs or blanks between the cells, and a header.

/** What is wrong with a pasted table, and the number of its line, which counts from 1. */
export class TableError extends Error {
  constructor(line, text) {
    super(`line ${line}: ${text}`);
    this.line = line;
  }
}

const NAMES = { ",": "commas", ";": "semicolons", "\t": "tabs", " ": "blanks" };
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const DECIMAL_COMMA = /^[+-]?\d+,\d+(e[+-]?\d+)?$/i;
const NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;
export const MOST_CHARACTERS = 1_000_000;

/**
 * Read a table. Returns `{ names, columns: { name: numbers }, rows: number of rows }`. Throws TableError. With `formula`, names must be
 * such as can stand in an expression.
 */
export function parseTable(text, { formula = false } = {}) {
  if (text.length > MOST_CHARACTERS) throw new TableError(1, `the table has more than ${MOST_CHARACTERS.toLocaleString("en")} characters`);
  const lines = text
    .replace(/^\uFEFF/, "")
    .split(/\r\n|\n|\r/)
    .map((content, k) => ({ number: k + 1, content }))
    .filter((line) => line.content.trim());
  if (!lines.length) throw new TableError(1, "there is nothing here; paste a header such as x,y and below it one line per point");
  const [header, ...body] = lines;
  const separator = separatorOf(header.content);
  const names = cells(header, separator);
  checkNames(names, header.number, formula);
  if (!body.length) throw new TableError(header.number, "there are no numbers below the header");
  const columns = names.map(() => new Array(body.length));
  const style = { comma: 0, point: 0 }; // the first line with each kind of decimal mark
  body.forEach((line, row) => {
    const found = cells(line, separator);
    if (found.length !== names.length) throw unlikeLength(line, found, names, separator);
    found.forEach((cell, column) => (columns[column][row] = read(cell, line.number, names[column], separator, style)));
  });
  return { names, columns: Object.fromEntries(names.map((name, k) => [name, columns[k]])), rows: body.length };
}

function separatorOf(header) {
  for (const separator of ["\t", ";", ","]) if (header.includes(separator)) return separator;
  return header.trim().includes(" ") ? " " : ",";
}

/** The cells of a line. A cell in double quotes may contain the separator; a quote in it is doubled. */
function cells({ content, number }, separator) {
  if (separator === " ") return content.trim().split(/\s+/);
  const found = [];
  let cell = "";
  let quoted = false;
  for (let k = 0; k < content.length; k++) {
    const c = content[k];
    if (quoted && c === '"' && content[k + 1] === '"') cell += content[++k];
    else if (c === '"' && (quoted || !cell.trim())) quoted = !quoted;
    else if (c === separator && !quoted) {
      found.push(cell.trim());
      cell = "";
    } else cell += c;
  }
  if (quoted) throw new TableError(number, 'a quote (") is opened and not closed');
  found.push(cell.trim());
  return found;
}

function checkNames(names, line, formula) {
  if (names.every((name) => name === "" || NUMBER.test(name) || DECIMAL_COMMA.test(name))) {
    throw new TableError(line, "found numbers where the names of the columns belong; begin with a line such as x,y");
  }
  names.forEach((name, k) => {
    if (!name) throw new TableError(line, `column ${k + 1} has no name`);
    if (names.indexOf(name) !== k) throw new TableError(line, `two columns are named ${name}; give each its own name`);
    if (formula && !NAME.test(name)) {
      const other = name.replace(/[^\p{L}\p{N}_]+/gu, "_").replace(/^_+|_+$/g, "").replace(/^(?=\p{N})/u, "_") || `x${k + 1}`;
      throw new TableError(line, `'${name}' cannot stand in a formula; name the column with letters, digits and _, such as ${other}`);
    }
  });
}

function unlikeLength(line, found, names, separator) {
  const count = (n) => `${n} cell${n === 1 ? "" : "s"}`;
  let text = `found ${count(found.length)}, but the header has ${names.length} (separated by ${NAMES[separator]})`;
  if (separator === "," && found.length === 2 * names.length) text += "; if commas are decimal marks, separate the columns by semicolons";
  return new TableError(line.number, text);
}

function read(cell, line, name, separator, style) {
  const place = `column ${name}`;
  if (cell === "") throw new TableError(line, `${place}: the cell is empty; fill it in, or remove the line`);
  let text = cell.replace(/^\u2212/, "-");
  if (separator !== "," && DECIMAL_COMMA.test(text)) {
    style.comma ||= line;
    text = text.replace(",", ".");
  } else if (text.includes(".")) style.point ||= line;
  if (style.comma && style.point) {
    const [first, second] = style.comma < style.point ? ["a comma", "a point"] : ["a point", "a comma"];
    const before = Math.min(style.comma, style.point);
    throw new TableError(line, `${place}: found ${second} as decimal mark in '${cell}', but ${first} on line ${before}; use one of them`);
  }
  if (!NUMBER.test(text)) throw new TableError(line, `${place}: found '${cell.slice(0, 40)}', which is not a number`);
  const number = Number(text);
  if (!Number.isFinite(number)) throw new TableError(line, `${place}: ${cell.slice(0, 40)} is too large`);
  return number;
}
