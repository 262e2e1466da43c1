/**
 * `/auth/v1`: sign-up, sign-in and sessions by `@supabase/lite` as a library, as the role
 * `supabase_auth_admin`, which owns its tables in the schema auth and nothing else.
 */

import { App } from "@supabase/lite";
import type { PostgresConnection } from "@supabase/lite/postgres";
import type { Config } from "./config.ts";
import type { Keys } from "./keys.ts";
import { connect } from "./tables.ts";

export class Users {
  readonly #connection: PostgresConnection;
  readonly #app: App;

  constructor(config: Config, keys: Keys) {
    this.#connection = connect(config.database.auth, config.pool, "tallystick auth");
    // Its own auth.uid() and the like read only one of the two forms claims come in, so they must
    // not replace those that are there; and it grants nothing.
    this.#connection.config.baseSchema = "";
    Reflect.set(this.#connection, "ensureRlsContext", () => Promise.resolve(true));
    Reflect.set(this.#connection, "rlsState", "active");
    this.#app = new App({
      connection: this.#connection,
      api: { schemas: ["auth"], port: config.port },
      auth: {
        enabled: true,
        publishable_key: config.publishableKey,
        secret_key: config.secretKey,
        jwt_secret: config.jwtSecret,
        email: { enable_confirmations: false },
      },
      db: { migrations: { enabled: false } },
      options: { server: { admin: false, apiKeys: { resolver: resolver(keys) } } },
    });
  }

  /** Makes the tables that are missing. */
  async start(): Promise<void> {
    await this.#app.ensureSystemSchema();
  }

  async answer(request: Request): Promise<Response> {
    const response = await this.#app.fetch(request, { peerAddress: null });
    // It answers what it does not know with a page of its own.
    if (!response.headers.get("content-type")?.startsWith("text/html")) return response;
    await response.body?.cancel();
    return Response.json({ code: 404, error_code: "not_found", msg: "404 page not found" }, {
      status: 404,
    });
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}

/** Legacy keys, which are JWTs, are keys as well. */
function resolver(keys: Keys) {
  return async (key: string) => {
    const claims = await keys.ofKey(key);
    if (claims === null) return null;
    const isSecret = claims.role === "service_role";
    return { type: isSecret ? "secret" as const : "publishable" as const, claims };
  };
}
