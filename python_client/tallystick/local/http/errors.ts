/** Errors as PostgREST answers them: `{code, message, details, hint}` and the status that fits. */

/** An answer that is an error. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly details: string | null = null,
    readonly hint: string | null = null,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }

  response(): Response {
    const { code, details, hint, message } = this;
    return new Response(JSON.stringify({ code, details, hint, message }), {
      status: this.status,
      headers: { "content-type": "application/json; charset=utf-8", ...this.headers },
    });
  }
}

/** An error that Postgres reported, as postgres.js throws it. */
export interface PostgresError extends Error {
  code: string;
  severity: string;
  detail?: string;
  hint?: string;
}

export function isPostgresError(error: unknown): error is PostgresError {
  return error instanceof Error && "severity" in error && "code" in error;
}

/** What an error of any kind is to the caller; the details of unexpected ones stay in the log. */
export function toApiError(error: unknown, role: string): ApiError {
  if (error instanceof ApiError) return error;
  if (isPostgresError(error)) return fromPostgres(error, role);
  console.error(error);
  return new ApiError(503, "PGRST001", "Database client error. Retrying the connection.");
}

export function fromPostgres(error: PostgresError, role: string): ApiError {
  if (error.code === "PGRST") return fromRaise(error);
  const { code, message, detail = null, hint = null } = error;
  return new ApiError(statusOf(code, message, role), code, message, detail, hint);
}

/** `raise sqlstate 'PGRST'`: the message is the whole error, the detail status and headers. */
function fromRaise(error: PostgresError): ApiError {
  const told = parsed(error.message);
  const wanted = error.detail === undefined ? null : parsed(error.detail);
  if (!told?.code || !told.message) {
    return malformedRaise(
      `Invalid JSON value for MESSAGE: '${error.message}'`,
      "MESSAGE must be a JSON object with obligatory keys: 'code', 'message' and optional keys: " +
        "'details', 'hint'.",
    );
  }
  if (!wanted?.status || !wanted.headers) {
    return malformedRaise(
      error.detail === undefined
        ? "DETAIL is missing in the RAISE statement"
        : `Invalid JSON value for DETAIL: '${error.detail}'`,
      "DETAIL must be a JSON object with obligatory keys: 'status', 'headers' and optional key: " +
        "'status_text'.",
    );
  }
  const { code, message, details = null, hint = null } = told;
  return new ApiError(wanted.status, code, message, details, hint, wanted.headers);
}

function malformedRaise(details: string, hint: string): ApiError {
  const message = `Could not parse JSON in the "RAISE SQLSTATE 'PGRST'" error`;
  return new ApiError(500, "PGRST121", message, details, hint);
}

// deno-lint-ignore no-explicit-any
function parsed(text: string): any {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const BY_CODE: Record<string, number> = {
  "23503": 409, // foreign key violation
  "23505": 409, // unique violation
  "25006": 405, // read only transaction
  "42883": 404, // undefined function
  "42P01": 404, // undefined table
  "42P17": 500, // infinite recursion
  "53400": 500, // configuration limit exceeded
  "57P01": 503, // terminated by an administrator
  "P0001": 400, // raise exception
};

const BY_CLASS: Record<string, number> = {
  "08": 503,
  "09": 500,
  "0L": 403,
  "0P": 403,
  "21": 500,
  "25": 500,
  "28": 403,
  "2D": 500,
  "38": 500,
  "39": 500,
  "3B": 500,
  "40": 500,
  "53": 503,
  "54": 500,
  "55": 500,
  "57": 500,
  "58": 500,
  "F0": 500,
  "HV": 500,
  "P0": 500,
  "XX": 500,
};

/** PostgREST's table from SQLSTATE to HTTP status. */
export function statusOf(code: string, message: string, role: string): number {
  const chosen = /^PT(\d{3})$/.exec(code);
  if (chosen) return Number(chosen[1]);
  if (code === "42501") return role === "anon" ? 401 : 403;
  // A token for a role that does not exist.
  if (code === "22023" && /^role .* does not exist$/.test(message)) return 401;
  if (code.startsWith("PT")) return 500;
  return BY_CODE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 400;
}
