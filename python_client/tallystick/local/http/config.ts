/**
 * What the gateway is told: one JSON object on its standard input, so that no secret stands in an
 * argument list or in the environment.
 */
export interface Config {
  /** The port of 127.0.0.1 to listen on. */
  port: number;
  /** Where the edge functions are served, or null where there are none. */
  functionsUrl: string | null;
  /** One database, as three roles. */
  database: {
    /** `authenticator`: every request of the data API, as the role its claims name. */
    api: string;
    /** `supabase_auth_admin`: users and sessions, in the schema auth. */
    auth: string;
    /** The schema's owner, for reading the catalog only. */
    catalog: string;
  };
  publishableKey: string;
  secretKey: string;
  /** The key that signs JWTs, HS256. */
  jwtSecret: string;
  /** The exposed schemas; the first is the one of a request that names none. */
  schemas: string[];
  extraSearchPath: string[];
  /** How many rows an answer has at most. */
  maxRows: number;
  /** How many requests of each kind reach the database at once. */
  pool: number;
}

/** Reads the configuration until the end of the input. */
export async function readConfig<T = Config>(input: ReadableStream<Uint8Array>): Promise<T> {
  return JSON.parse(await new Response(input).text());
}
