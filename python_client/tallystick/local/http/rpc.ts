/**
 * `/rest/v1/rpc/<function>`, answered in PostgREST's shape.
 *
 * Postgres reads the arguments and writes the answer, so every digit survives in both directions.
 * One request is one transaction: as the role of its claims, with that role's settings; read-only
 * where the function is not volatile or the method is GET or HEAD.
 */

import type { Sql as Driver, TransactionSql } from "postgres";
import { callSql, choose, type Payload, quote } from "./call.ts";
import type { Catalog, CatalogCache, DatabaseFunction } from "./catalog.ts";
import { ApiError, toApiError } from "./errors.ts";
import type { Claims } from "./keys.ts";
import { type Preferences, readPreferences } from "./preferences.ts";
import { badRange, readSelection, splitQuery } from "./selection.ts";
import { type Format, readFormat } from "./format.ts";
import { requestSettings, type Setting, settingsSql } from "./settings.ts";

export interface RpcOptions {
  sql: Driver;
  catalog: CatalogCache;
  schemas: readonly string[];
  extraSearchPath: readonly string[];
  maxRows: number;
}

/** One answered row of the statement. */
interface Answer {
  body: string;
  /** Rows in the answer, and in all where they were counted. */
  rows: number;
  total: number | null;
  /** What the function chose by `response.status` and `response.headers`. */
  status: string | null;
  headers: string | null;
}

const METHODS = ["GET", "HEAD", "POST"];

/** Answers one call; never throws. */
export async function answerRpc(
  request: Request,
  claims: Claims,
  options: RpcOptions,
): Promise<Response> {
  try {
    return await answer(request, claims, options);
  } catch (error) {
    return toApiError(error, claims.role).response();
  }
}

async function answer(request: Request, claims: Claims, options: RpcOptions): Promise<Response> {
  const url = new URL(request.url);
  const name = readName(url.pathname);
  if (!METHODS.includes(request.method)) {
    throw new ApiError(405, "PGRST101", `Cannot use the ${request.method} method on RPC`);
  }
  const schema = readSchema(request, options.schemas);
  const format = readFormat(request.headers.get("accept"));
  const { payload, filters } = await readPayload(request, url.searchParams);
  const { f, catalog } = await find(options.catalog, schema, name, payload);
  const preferences = readPreferences(request.headers.get("prefer"), catalog.timeZones);
  if (preferences.maxAffected !== null && !f.returnsSet) {
    throw new ApiError(
      400,
      "PGRST128",
      "Function must return SETOF or TABLE when max-affected preference is used with " +
        "handling=strict",
    );
  }

  const call = callSql(f, payload);
  const range = request.method === "GET" ? request.headers.get("range") : null;
  const selection = readSelection(
    f,
    url.searchParams,
    filters,
    { header: range, maxRows: options.maxRows },
    (text) => `$${call.values.push(text)}::text`,
  );
  const statement = `
    with call as materialized (${call.text}),
    wanted as materialized (select * from call where true ${selection.where}),
    page as (select ${selection.columns} from wanted ${selection.order} ${selection.page})
    select
      ${bodySql(f, format)} as body,
      count(*)::int as rows,
      ${preferences.countAll ? "(select count(*) from wanted)::int" : "null::int"} as total
    from page`;
  const settings = [
    ...catalog.settingsOf(claims.role),
    ...f.settings,
    ...requestSettings(request, claims, [schema, ...options.extraSearchPath].map(quote).join(", ")),
    ...(preferences.timeZone === null ? [] : [["timezone", preferences.timeZone] as Setting]),
  ];
  const answered = await options.sql.begin(mode(f, request.method, settings), async (tx) => {
    await tx.unsafe(...settingsSql(settings));
    const found = await run(tx, statement, call.values);
    check(found, f, format, preferences, selection.offset);
    return found;
  });
  return respond(answered, f, request.method, format, preferences, selection.offset);
}

function readName(pathname: string): string {
  try {
    const name = decodeURIComponent(pathname.slice("/rest/v1/rpc/".length));
    if (name !== "" && !name.includes("/")) return name;
  } catch {
    // Malformed, so no function's name either.
  }
  throw new ApiError(404, "PGRST125", "Invalid path specified in request URL");
}

function readSchema(request: Request, schemas: readonly string[]): string {
  const header = request.method === "POST" ? "content-profile" : "accept-profile";
  const schema = request.headers.get(header) ?? schemas[0];
  if (schemas.includes(schema)) return schema;
  throw new ApiError(
    406,
    "PGRST106",
    `Invalid schema: ${schema}`,
    null,
    `Only the following schemas are exposed: ${schemas.join(", ")}`,
  );
}

async function readPayload(
  request: Request,
  query: URLSearchParams,
): Promise<{ payload: Payload; filters: [string, string][] }> {
  const { args, filters } = splitQuery(query);
  if (request.method !== "POST") return { payload: { kind: "texts", values: args }, filters };
  // In a POST arguments come in the body, so everything in the query is a filter.
  const all: [string, string][] = [...args, ...filters];
  const text = await request.text();
  const type = (request.headers.get("content-type") ?? "application/json").split(";")[0].trim();
  switch (type) {
    case "application/json":
      return { payload: readJson(text), filters: all };
    case "application/x-www-form-urlencoded":
      return { payload: { kind: "texts", values: [...new URLSearchParams(text)] }, filters: all };
    case "text/plain":
      return { payload: { kind: "raw", text }, filters: all };
    default:
      throw new ApiError(400, "PGRST102", `Content-Type not acceptable: ${type}`);
  }
}

function readJson(text: string): Payload {
  const json = text.trim() === "" ? "{}" : text;
  let body: unknown;
  try {
    body = JSON.parse(json);
  } catch {
    throw new ApiError(400, "PGRST102", "Empty or invalid json");
  }
  const isObject = body !== null && typeof body === "object" && !Array.isArray(body);
  return { kind: "json", text: json, names: isObject ? Object.keys(body as object) : [] };
}

/** A function that is not found may be newer than the catalog that was read. */
async function find(
  cache: CatalogCache,
  schema: string,
  name: string,
  payload: Payload,
): Promise<{ f: DatabaseFunction; catalog: Catalog }> {
  const catalog = await cache.load();
  try {
    return { f: choose(catalog.functions(schema, name), schema, name, payload), catalog };
  } catch {
    cache.forget();
    const fresh = await cache.load();
    return { f: choose(fresh.functions(schema, name), schema, name, payload), catalog: fresh };
  }
}

/** PostgREST's shapes: void says nothing, sets are arrays, all else is the one value. */
function bodySql(f: DatabaseFunction, format: Format): string {
  if (f.returns === "void") return "'null'";
  const rows = f.returns === "composite" ? "json_agg(page)" : "json_agg(page.value)";
  const stripped = format.stripNulls ? `json_strip_nulls(${rows})` : rows;
  return f.returnsSet && !format.isObject
    ? `coalesce(${stripped}, '[]')::text`
    : `coalesce((${stripped}->0)::text, 'null')`;
}

function mode(f: DatabaseFunction, method: string, settings: Setting[]): string {
  const isolation = settings.findLast(([name]) => name === "default_transaction_isolation")?.[1];
  const access = f.isVolatile && method === "POST" ? "read write" : "read only";
  return `isolation level ${isolation ?? "read committed"} ${access}`;
}

async function run(tx: TransactionSql, statement: string, values: string[]): Promise<Answer> {
  const [row] = await tx.unsafe(statement, values);
  const [chosen] = await tx.unsafe(`
    select
      nullif(pg_catalog.current_setting('response.status', true), '') as status,
      nullif(pg_catalog.current_setting('response.headers', true), '') as headers`);
  return { ...row, ...chosen } as unknown as Answer;
}

/** What makes the call fail after all, and its transaction with it. */
function check(
  answered: Answer,
  f: DatabaseFunction,
  format: Format,
  preferences: Preferences,
  offset: number,
): void {
  const { rows, total } = answered;
  if (format.isObject && f.returnsSet && rows !== 1) {
    throw new ApiError(
      406,
      "PGRST116",
      "Cannot coerce the result to a single JSON object",
      `The result contains ${rows} rows`,
    );
  }
  if (preferences.maxAffected !== null && rows > preferences.maxAffected) {
    throw new ApiError(
      400,
      "PGRST124",
      "Query result exceeds max-affected preference constraint",
      `The query affects ${rows} rows`,
    );
  }
  if (total !== null && offset > 0 && offset >= total) {
    throw badRange(`An offset of ${offset} was requested, but there are only ${total} rows.`);
  }
  chosenStatus(answered);
  chosenHeaders(answered);
}

function respond(
  answered: Answer,
  f: DatabaseFunction,
  method: string,
  format: Format,
  preferences: Preferences,
  offset: number,
): Response {
  const { body, rows, total } = answered;
  const isPart = total !== null && rows < total;
  const status = chosenStatus(answered) ?? (f.returns === "void" ? 204 : isPart ? 206 : 200);
  const headers = new Headers({ "content-range": contentRange(offset, rows, total) });
  if (status !== 204) headers.set("content-type", format.contentType);
  if (preferences.applied !== null) headers.set("preference-applied", preferences.applied);
  for (const [name, value] of chosenHeaders(answered)) headers.append(name, value);
  const isEmpty = status === 204 || status === 304 || method === "HEAD";
  return new Response(isEmpty ? null : body, { status, headers });
}

function contentRange(offset: number, rows: number, total: number | null): string {
  const part = rows === 0 ? "*" : `${offset}-${offset + rows - 1}`;
  return `${part}/${total ?? "*"}`;
}

function chosenStatus({ status }: Answer): number | null {
  if (status === null) return null;
  if (/^[2-5]\d\d$/.test(status)) return Number(status);
  throw new ApiError(500, "PGRST112", "response.status guc must be a valid status code");
}

function chosenHeaders({ headers }: Answer): [string, string][] {
  if (headers === null) return [];
  try {
    const listed: unknown = JSON.parse(headers);
    if (!Array.isArray(listed)) throw new TypeError();
    return listed.map((item) => {
      const [[name, value], ...more] = Object.entries(item);
      if (more.length > 0 || typeof value !== "string") throw new TypeError();
      new Headers([[name, value]]);
      return [name, value];
    });
  } catch {
    throw new ApiError(
      500,
      "PGRST111",
      "response.headers guc must be a JSON array composed of objects with a single key and a " +
        "string value",
    );
  }
}
