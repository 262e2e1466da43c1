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
 * the type of the column. Numbers within a JSON value of a column stay as they are.
 */
export function withoutRounding(body: string): string {
  const rows = readJson(body);
  const mended = Array.isArray(rows) ? rows.map(mendRow) : mendRow(rows);
  return JSON.stringify(mended);
}

function mendRow(row: unknown): unknown {
  if (row === null || typeof row !== "object") return row;
  return Object.fromEntries(
    Object.entries(row).map(([name, value]) => [name, isRaw(value) ? value.rawJSON : value]),
  );
}

function isRaw(value: unknown): value is RawJson {
  return value !== null && typeof value === "object" && "rawJSON" in value &&
    Object.getPrototypeOf(value) === null;
}

/**
 * Gives the values of filters back the text they had in the query string, where they were read as
 * JavaScript numbers: 9007199254740993 is another one then, and "1.50" no longer the same name.
 */
export function asWritten<T>(where: T, query: URLSearchParams): T {
  const texts = [...query.values()].flatMap((value) => value.split(/[,(){}"]/)).flatMap(endings);
  const mend = (value: unknown): unknown => {
    if (typeof value === "number") {
      return texts.find((text) => text !== "" && Number(text) === value) ?? value;
    }
    if (Array.isArray(value)) return value.map(mend);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mend(each)]));
  };
  return mend(where) as T;
}

/** `id.eq.1.50` as itself, `eq.1.50`, `1.50` and `50`: one of them is the value. */
function endings(text: string): string[] {
  const parts = text.split(".");
  return parts.map((_, place) => parts.slice(place).join("."));
}

/** `2026-01-01 10:00:00+00` as ISO 8601: `2026-01-01T10:00:00+00:00`. */
export function readTime(text: string): string {
  return text.replace(" ", "T").replace(/([+-]\d\d)$/, "$1:00");
}

/** Objects become JSON; text that is JSON already is left alone. */
function writeJson(value: unknown): string {
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
