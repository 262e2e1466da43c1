/**
 * What of a function's rows is answered: columns, filters, order, limit and offset of the query
 * string. This is the part of PostgREST's language that lists of rows need; the rest (embedding,
 * JSON paths, logical trees) is refused by name rather than misread.
 */

import { quote } from "./call.ts";
import type { DatabaseFunction } from "./catalog.ts";
import { ApiError } from "./errors.ts";

/** Names in the query string that are no argument and no filter. */
const RESERVED = new Set(["apikey", "select", "order", "limit", "offset", "columns", "and", "or"]);

const COMPARISONS: Record<string, string> = {
  eq: "=",
  neq: "<>",
  gt: ">",
  gte: ">=",
  lt: "<",
  lte: "<=",
  like: "like",
  ilike: "ilike",
  match: "~",
  imatch: "~*",
  cs: "@>",
  cd: "<@",
};
const IS: Record<string, string> = {
  null: "null",
  not_null: "not null",
  true: "true",
  false: "false",
  unknown: "unknown",
};
const OPERATION = new RegExp(
  `^(?:not\\.)?(?:${[...Object.keys(COMPARISONS), "is", "in", "isdistinct"].join("|")})\\.`,
);

/** The select around a call's rows, and where its page begins. */
export interface Selection {
  columns: string;
  where: string;
  order: string;
  page: string;
  offset: number;
}

/** Splits a query string into arguments of the function (GET) and the rest. */
export function splitQuery(query: URLSearchParams): {
  args: [string, string][];
  filters: [string, string][];
} {
  const pairs = [...query].filter(([name]) => !RESERVED.has(name));
  const isFilter = ([, value]: [string, string]) => OPERATION.test(value);
  return { args: pairs.filter((pair) => !isFilter(pair)), filters: pairs.filter(isFilter) };
}

/**
 * Reads the selection; `parameter` adds a value to the statement and returns its placeholder.
 *
 * @throws {ApiError} PGRST100: malformed, or not available here; PGRST103: an impossible range.
 */
export function readSelection(
  f: DatabaseFunction,
  query: URLSearchParams,
  filters: [string, string][],
  range: { header: string | null; maxRows: number },
  parameter: (text: string) => string,
): Selection {
  for (const name of ["and", "or", "columns"]) {
    if (query.has(name)) throw unavailable(name);
  }
  const { limit, offset } = readRange(query, range.header);
  const most = limit === null || limit > range.maxRows ? range.maxRows : limit;
  return {
    columns: readColumns(query.get("select")),
    where: filters.map(([column, value]) => `and ${filterSql(f, column, value, parameter)}`)
      .join(" "),
    order: readOrder(query.get("order")),
    page: `limit ${most} offset ${offset}`,
    offset,
  };
}

function readColumns(select: string | null): string {
  if (select === null || select.trim() === "") return "*";
  return select.split(",").map((item) => {
    const trimmed = item.trim();
    if (trimmed === "*") return "*";
    const found = /^(?:([\w$]+):)?([\w$]+)(?:::(\w+))?$/.exec(trimmed);
    if (found === null) throw unavailable(`select=${trimmed}`);
    const [, alias, column, type] = found;
    const value = type === undefined ? quote(column) : `cast(${quote(column)} as ${type})`;
    return `${value} as ${quote(alias ?? column)}`;
  }).join(", ");
}

function readOrder(order: string | null): string {
  if (order === null || order.trim() === "") return "";
  const terms = order.split(",").map((term) => {
    const found = /^([\w$]+)(?:\.(asc|desc))?(?:\.nulls(first|last))?$/.exec(term.trim());
    if (found === null) throw unavailable(`order=${term}`);
    const [, column, direction = "asc", nulls] = found;
    return `${quote(column)} ${direction}${nulls === undefined ? "" : ` nulls ${nulls}`}`;
  });
  return `order by ${terms.join(", ")}`;
}

function filterSql(
  f: DatabaseFunction,
  column: string,
  text: string,
  parameter: (text: string) => string,
): string {
  const [, not = "", operator, value] = /^(not\.)?(\w+)\.(.*)$/s.exec(text) ?? [];
  const type = f.columns[column];
  if (type === undefined) {
    const named = `column ${f.name}.${column} does not exist`;
    throw new ApiError(400, "42703", named);
  }
  const typed = (value: string) => `${parameter(value)}::${type}`;
  const subject = quote(column);
  const condition = () => {
    if (operator in COMPARISONS) {
      const isPattern = ["like", "ilike"].includes(operator);
      const against = isPattern ? parameter(value.replaceAll("*", "%")) : typed(value);
      return `${subject} ${COMPARISONS[operator]} ${against}`;
    }
    if (operator === "isdistinct") return `${subject} is distinct from ${typed(value)}`;
    if (operator === "is") {
      const kind = IS[value.toLowerCase()];
      if (kind === undefined) throw unavailable(`${column}=${text}`);
      return `${subject} is ${kind}`;
    }
    const list = /^\((.*)\)$/s.exec(value);
    if (list === null) throw unavailable(`${column}=${text}`);
    return `${subject} in (${splitList(list[1]).map(typed).join(", ") || "null"})`;
  };
  return `${not ? "not " : ""}(${condition()})`;
}

/** `a,"b,c"` as a and b,c; a backslash within quotes keeps the next character. */
function splitList(text: string): string[] {
  const items = text.match(/"(?:[^"\\]|\\.)*"|[^,]+/gs) ?? [];
  return items.map((item) =>
    item.startsWith('"') ? item.slice(1, -1).replace(/\\(.)/gs, "$1") : item
  );
}

function readRange(
  query: URLSearchParams,
  header: string | null,
): { limit: bigint | null; offset: number } {
  const given = /^(?:items=)?(\d+)-(\d*)$/.exec(header ?? "");
  const number = (name: string) => {
    const text = query.get(name);
    if (text === null || text === "") return null;
    if (!/^-?\d+$/.test(text)) throw unavailable(`${name}=${text}`);
    if (text.startsWith("-")) {
      throw badRange("Limit should be greater than or equal to zero.");
    }
    return BigInt(text);
  };
  const [first, last] = given === null ? [null, null] : [
    BigInt(given[1]),
    given[2] === "" ? null : BigInt(given[2]),
  ];
  if (first !== null && last !== null && last < first) {
    throw badRange(
      "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
    );
  }
  const ofHeader = first === null || last === null ? null : last - first + 1n;
  return { limit: number("limit") ?? ofHeader, offset: Number(number("offset") ?? first ?? 0n) };
}

export function badRange(details: string): ApiError {
  return new ApiError(416, "PGRST103", "Requested range not satisfiable", details);
}

function unavailable(what: string): ApiError {
  return new ApiError(
    400,
    "PGRST100",
    `"${what}" is malformed, or not available on the results of functions here`,
    "Columns, their aliases and casts, filters (eq, neq, gt, gte, lt, lte, like, ilike, match, imatch, cs, " +
      "cd, is, in, isdistinct, not), order, limit and offset are.",
  );
}
