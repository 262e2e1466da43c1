/**
 * `/rest/v1/<table>`: `@supabase/lite` as a library, as the role `authenticator`.
 *
 * Left alone, it would grant everything in every schema with row-level security to anon on its
 * first request, answer most error codes as 500, round numbers and not see tables it may not read.
 * What is replaced here is how it reaches the database; the language of the routes is its own.
 */

import { AsyncLocalStorage } from "node:async_hooks";
import { App } from "@supabase/lite";
import { createPostgresConnection, type PostgresConnection } from "@supabase/lite/postgres";
import { CompiledQuery, type Kysely } from "kysely";
import { quote } from "./call.ts";
import type { CatalogCache } from "./catalog.ts";
import type { Config } from "./config.ts";
import { ApiError, fromPostgres, isPostgresError } from "./errors.ts";
import { asWritten } from "./filters.ts";
import type { Claims } from "./keys.ts";
import { types, withoutRounding } from "./numbers.ts";
import { requestSettings, type Setting, settingsSql } from "./settings.ts";

const TEXT = /^_?(text|character varying|varchar|character|bpchar|char|citext|name)\b/i;

/** What a request's transaction needs to know of the request. */
interface Asked {
  request: Pick<Request, "method" | "url" | "headers">;
  claims: Claims;
  schema: string;
}

export class Tables {
  readonly #asked = new AsyncLocalStorage<Asked>();
  readonly #rows: PostgresConnection;
  readonly #catalog: PostgresConnection;
  readonly #app: App;

  constructor(readonly config: Config, readonly functions: CatalogCache) {
    this.#rows = connect(config.database.api, config.pool, "tallystick tables");
    this.#catalog = connect(config.database.catalog, 1, "tallystick catalog", {
      default_transaction_read_only: "on",
    });
    this.#takeOver(this.#rows);
    this.#app = new App({
      connection: this.#rows,
      api: {
        schemas: config.schemas,
        extra_search_path: config.extraSearchPath,
        port: config.port,
        max_rows: config.maxRows,
      },
      auth: { enabled: false },
      db: { migrations: { enabled: false } },
      options: { server: { admin: false, apiKeys: { resolver: () => this.#claimed() } } },
    });
  }

  async start(): Promise<void> {
    await this.#app.init();
  }

  async answer(request: Request, claims: Claims): Promise<Response> {
    const { method, url, headers } = request;
    const isWrite = !["GET", "HEAD"].includes(method);
    const profile = headers.get(isWrite ? "content-profile" : "accept-profile");
    const asked = {
      request: { method, url, headers },
      claims,
      schema: profile ?? this.config.schemas[0],
    };
    const target = new URL(url);
    const columns = await this.#columns(target.pathname.slice("/rest/v1/".length), asked.schema);
    const isText = (column: string) => TEXT.test(columns.get(column) ?? "");
    target.search = asWritten(target.searchParams, isText).toString();
    const isJson = (column: string) => /^jsonb?$/.test(columns.get(column) ?? "");
    const forwarded = isWrite ? await exact(target, request, isJson) : new Request(target, request);
    forwarded.headers.delete("authorization"); // it was checked before
    return await this.#asked.run(asked, () => this.#app.fetch(forwarded, { peerAddress: null }));
  }

  /** The types of the columns of a table, by name. */
  async #columns(table: string, schema: string): Promise<Map<string, string>> {
    const { columns } = await this.#catalog.introspect({ useCache: true });
    return new Map(
      columns.filter((column) =>
        encodeURIComponent(column.table) === table && (column.schema ?? "public") === schema
      ).map((column) => [column.name, column.pg_type ?? column.type]),
    );
  }

  /** Forgets the schema, which has changed. */
  async forget(): Promise<void> {
    await this.#rows.clearSchemaCache?.();
    await this.#catalog.clearSchemaCache?.();
  }

  async close(): Promise<void> {
    await Promise.all([this.#rows.close(), this.#catalog.close()]);
  }

  #takeOver(connection: PostgresConnection): void {
    // Its rights are those that the migrations grant: nothing is granted here.
    Reflect.set(connection, "ensureRlsContext", () => Promise.resolve(true));
    Reflect.set(connection, "rlsState", "active");
    Reflect.set(
      connection,
      "applyJwtSessionContext",
      (db: Kysely<unknown>) => this.#begin(db),
    );
    // The information schema shows only what the asking role may see.
    connection.introspect = async (options) =>
      withoutNumbers(await this.#catalog.introspect(options));
    connection.viewOptionsMetadata = (name, schema) =>
      this.#catalog.viewOptionsMetadata(name, schema);
    const withContext = connection.withContext.bind(connection);
    connection.withContext = async (vars, work, options) => {
      try {
        return await withContext(vars, work, options);
      } catch (error) {
        throw this.#kept(error);
      }
    };
  }

  /** What the library takes for the meaning of the API key: the claims that were checked before. */
  #claimed() {
    const { claims } = this.#current();
    return Promise.resolve({ type: "publishable" as const, claims: { ...claims } });
  }

  #current(): Asked {
    const asked = this.#asked.getStore();
    if (asked === undefined) throw new Error("a statement outside of a request");
    return asked;
  }

  /** Makes the settings of the request in its transaction. */
  async #begin(db: Kysely<unknown>): Promise<void> {
    const { request, claims, schema } = this.#current();
    const catalog = await this.functions.load();
    const searchPath = [schema, ...this.config.extraSearchPath].map(quote).join(", ");
    const readOnly: Setting[] = ["GET", "HEAD"].includes(request.method)
      ? [["transaction_read_only", "on"]]
      : [];
    const [text, values] = settingsSql([
      ...readOnly,
      ...catalog.settingsOf(claims.role),
      ...requestSettings(request, claims, searchPath),
    ]);
    await db.executeQuery(CompiledQuery.raw(text, values));
  }

  /**
   * Puts an error of Postgres into the one form whose code, details, hint and status it leaves
   * alone: that of `raise sqlstate 'PGRST'`.
   */
  #kept(error: unknown): unknown {
    if (!isPostgresError(error) || error.code === "PGRST") return error;
    const role = this.#asked.getStore()?.claims.role ?? "anon";
    const { code, message, details, hint, status, headers } = fromPostgres(error, role);
    error.code = "PGRST";
    error.message = JSON.stringify({ code, message, details, hint });
    error.detail = JSON.stringify({ status, headers });
    return error;
  }
}

/** Replaces numbers in a body that would be rounded on their way to the database. */
async function exact(
  target: URL,
  request: Request,
  isJson: (column: string) => boolean,
): Promise<Request> {
  if (request.body === null) return new Request(target, request);
  const type = (request.headers.get("content-type") ?? "application/json").split(";")[0].trim();
  if (type !== "application/json") {
    throw new ApiError(415, "PGRST102", `Content-Type not acceptable: ${type}`);
  }
  const text = await request.text();
  let body = text;
  try {
    body = text.trim() === "" ? text : withoutRounding(text, isJson);
  } catch {
    // Malformed: for the library to refuse.
  }
  const { method, headers } = request;
  return new Request(target, { method, headers, body });
}

export function connect(
  url: string,
  pool: number,
  name: string,
  settings: Record<string, string> = {},
): PostgresConnection {
  return createPostgresConnection({
    url,
    postgresOptions: {
      max: pool,
      onnotice: () => {},
      types,
      connection: { application_name: name, TimeZone: "UTC", ...settings },
    },
  });
}

type Introspection = Awaited<ReturnType<PostgresConnection["introspect"]>>;

/** Hides that columns are numbers, or their values would be made JavaScript's on the way in. */
function withoutNumbers(found: Introspection): Introspection {
  return {
    ...found,
    columns: found.columns.map((column) =>
      ["numeric", "bigint"].includes(column.type)
        ? { ...column, type: "text", pg_type: "text" }
        : column
    ),
  };
}
