/**
 * Values of Postgres as PostgREST writes them in JSON, on the routes where a library reads rows:
 * numbers keep every digit, times are ISO 8601.
 *
 * A JavaScript number keeps 53 bits. What it would change is kept as the text it was written in,
 * which `JSON.stringify` writes unquoted.
 */

interface RawJson {
  readonly rawJSON: string;
}
const rawJson = (JSON as unknown as { rawJSON(text: string): RawJson }).rawJSON;

type Reviver = (key: string, value: unknown, context: { source?: string }) => unknown;
const parseWith = JSON.parse as unknown as (text: string, reviver: Reviver) => unknown;

const JSON_NUMBER = /^-?\d+(\.\d+)?$/;

/** Reads a number: as a JavaScript number where that is the same text, else exactly as written. */
export function readNumber(text: string): number | string | RawJson {
  if (!JSON_NUMBER.test(text)) return text; // NaN and Infinity: JSON has none
  return String(Number(text)) === text ? Number(text) : rawJson(text);
}

/** Begins JSON that nobody shall read on its way; no text of Postgres holds it. */
const WRITTEN = "\0";

/** Reads JSON without changing a number in it. */
export function readJson(text: string): unknown {
  return parseWith(
    text,
    (_key, value, { source }) => typeof value === "number" && source ? readExact(source) : value,
  );
}

function readExact(source: string): number | RawJson {
  return String(Number(source)) === source ? Number(source) : rawJson(source);
}

/**
 * Turns what would be rounded in the rows of a request's body into text, which Postgres reads as
 * the type of the column: numbers, and whole values of columns that are JSON.
 */
export function withoutRounding(body: string, isJson: (column: string) => boolean): string {
  const rows = readJson(body);
  const mended = Array.isArray(rows)
    ? rows.map((row) => mendRow(row, isJson))
    : mendRow(rows, isJson);
  return JSON.stringify(mended);
}

function mendRow(row: unknown, isJson: (column: string) => boolean): unknown {
  if (row === null || typeof row !== "object") return row;
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [
      name,
      !isJson(name) ? mend(value) : holdsRaw(value) ? WRITTEN + JSON.stringify(value) : value,
    ]),
  );
}

function mend(value: unknown): unknown {
  if (isRaw(value)) return value.rawJSON;
  return Array.isArray(value) ? value.map(mend) : value;
}

function isRaw(value: unknown): value is RawJson {
  return value !== null && typeof value === "object" && "rawJSON" in value &&
    Object.getPrototypeOf(value) === null;
}

function holdsRaw(value: unknown): boolean {
  if (value === null || typeof value !== "object") return false;
  return isRaw(value) || Object.values(value).some(holdsRaw);
}

/** `2026-01-01 10:00:00+00` as ISO 8601: `2026-01-01T10:00:00+00:00`. */
export function readTime(text: string): string {
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}

/** Objects become JSON; text that is JSON already is left alone. */
function writeJson(value: unknown): string {
  if (typeof value === "string" && value.startsWith(WRITTEN)) return value.slice(WRITTEN.length);
  return typeof value === "string" && /^\s*[[{]/.test(value) ? value : JSON.stringify(value);
}

const asIs = (text: string) => text;

/** How postgres.js reads and writes these types. */
export const types = {
  numeric: { to: 1700, from: [1700], serialize: String, parse: readNumber },
  bigint: { to: 20, from: [20], serialize: String, parse: readNumber },
  json: { to: 114, from: [114], serialize: writeJson, parse: readJson },
  jsonb: { to: 3802, from: [3802], serialize: writeJson, parse: readJson },
  timestamp: { to: 1114, from: [1114], serialize: asIs, parse: readTime },
  timestamptz: { to: 1184, from: [1184], serialize: asIs, parse: readTime },
};
