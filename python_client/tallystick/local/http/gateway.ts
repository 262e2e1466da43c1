/** The one address of the local stack: data API, users and edge functions. */

import postgres from "postgres";
import { CatalogCache } from "./catalog.ts";
import { type Config, readConfig } from "./config.ts";
import { toApiError } from "./errors.ts";
import { Keys } from "./keys.ts";
import { answerRpc, type RpcOptions } from "./rpc.ts";
import { Tables } from "./tables.ts";
import { Users } from "./users.ts";

const METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const EXPOSED = "Content-Range, Content-Location, Preference-Applied, Retry-After, *";

class Gateway {
  readonly #keys: Keys;
  readonly #rpc: RpcOptions;
  readonly #catalogSql: postgres.Sql;
  readonly #tables: Tables;
  readonly #users: Users;

  constructor(readonly config: Config) {
    const { database, schemas, extraSearchPath, maxRows, pool } = config;
    this.#keys = new Keys(config);
    this.#catalogSql = postgres(database.catalog, {
      max: 2,
      onnotice: () => {},
      connection: {
        application_name: "tallystick catalog",
        default_transaction_read_only: true,
        search_path: "", // so that the names of types are written in full
      },
    });
    const catalog = new CatalogCache(this.#catalogSql, schemas);
    const sql = postgres(database.api, {
      max: pool,
      onnotice: () => {},
      prepare: false,
      connection: { application_name: "tallystick rpc", TimeZone: "UTC" },
    });
    this.#rpc = { sql, catalog, schemas, extraSearchPath, maxRows };
    this.#tables = new Tables(config, catalog);
    this.#users = new Users(config, this.#keys);
  }

  async start(): Promise<void> {
    await Promise.all([this.#users.start(), this.#tables.start()]);
    await this.#rpc.catalog.load();
    // PostgREST's own way to be told that the schema has changed.
    await this.#catalogSql.listen("pgrst", (message) => {
      if (message === "" || /reload/.test(message)) {
        this.#rpc.catalog.forget();
        this.#tables.forget().catch(console.error);
      }
    });
  }

  async answer(request: Request): Promise<Response> {
    if (request.method === "OPTIONS" && request.headers.has("access-control-request-method")) {
      return preflight(request);
    }
    let response: Response;
    try {
      response = await this.#route(request);
    } catch (error) {
      response = toApiError(error, "anon").response();
    }
    return open(response);
  }

  async #route(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    if (pathname.startsWith("/rest/v1/rpc/")) {
      return await answerRpc(request, await this.#keys.claims(request), this.#rpc);
    }
    if (pathname.startsWith("/rest/v1/")) {
      return await this.#tables.answer(request, await this.#keys.claims(request));
    }
    if (pathname.startsWith("/auth/v1/")) return await this.#users.answer(request);
    if (pathname.startsWith("/functions/v1/")) return await this.#forward(request);
    if (pathname === "/health") return new Response("ok");
    return Response.json({ message: "no Route matched with those values" }, { status: 404 });
  }

  /** Hands a request to the edge functions; both bodies stream, and a caller who leaves is told. */
  async #forward(request: Request): Promise<Response> {
    if (this.config.functionsUrl === null) {
      return Response.json({ code: "NOT_FOUND", message: "No functions are served" }, {
        status: 404,
      });
    }
    const { pathname, search } = new URL(request.url);
    const target = `${this.config.functionsUrl}${pathname.slice("/functions/v1".length)}${search}`;
    const headers = new Headers(request.headers);
    headers.delete("host");
    const { method, body, signal } = request;
    try {
      return await fetch(target, { method, headers, body, signal, redirect: "manual" });
    } catch (error) {
      if (signal.aborted) return new Response(null, { status: 499 });
      console.error(error);
      return Response.json({ code: "BOOT_ERROR", message: "The functions do not answer" }, {
        status: 503,
      });
    }
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#tables.close(),
      this.#users.close(),
      this.#rpc.sql.end({ timeout: 1 }),
      this.#catalogSql.end({ timeout: 1 }),
    ]);
  }
}

function preflight(request: Request): Response {
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-origin": "*",
      "access-control-allow-methods": METHODS,
      "access-control-allow-headers": request.headers.get("access-control-request-headers") ??
        "authorization, apikey",
      "access-control-max-age": "86400",
    },
  });
}

/** Lets a page of any origin read the answer, as Supabase does. */
function open(response: Response): Response {
  const headers = new Headers(response.headers);
  if (!headers.has("access-control-allow-origin")) headers.set("access-control-allow-origin", "*");
  if (!headers.has("access-control-expose-headers")) {
    headers.set("access-control-expose-headers", EXPOSED);
  }
  return new Response(response.body, { status: response.status, headers });
}

async function main(): Promise<void> {
  const config = await readConfig(Deno.stdin.readable);
  const gateway = new Gateway(config);
  await gateway.start();
  const server = Deno.serve({
    hostname: "127.0.0.1",
    port: config.port,
    onListen: ({ port }) => console.log(`listening on ${port}`),
  }, (request) => gateway.answer(request));
  const stop = async () => {
    setTimeout(() => Deno.exit(0), 1000); // callers who keep their connection are not waited for
    await server.shutdown();
    await gateway.close();
    Deno.exit(0);
  };
  for (const signal of Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"]) {
    Deno.addSignalListener(signal as Deno.Signal, stop);
  }
}

if (import.meta.main) await main();
