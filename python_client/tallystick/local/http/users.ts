/**
 * `/auth/v1`: sign-up, sign-in and sessions by `@supabase/lite` as a library, as the role
 * `supabase_auth_admin`, which owns its tables in the schema auth and nothing else.
 */

import { App } from "@supabase/lite";
import type { PostgresConnection } from "@supabase/lite/postgres";
import type { Config } from "./config.ts";
import type { Keys } from "./keys.ts";
import { authKeys, connect, resolver } from "./tables.ts";

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
        ...authKeys(config),
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
    return await this.#app.fetch(request, { peerAddress: null });
  }

  async close(): Promise<void> {
    await this.#connection.close();
  }
}
