/** Errors in the shape OpenAI's clients read: they are raised as what their status says. */

/** What a client may read beside the message; money is decimal text. */
export type Facts = Record<string, string | number | null>;

export interface Particulars {
  /** OpenAI's kind of error. */
  type?: "invalid_request_error" | "insufficient_quota" | "rate_limit_error" | "server_error";
  /** The field of the request that is at fault. */
  param?: string;
  facts?: Facts;
  headers?: Record<string, string>;
  /** Whether OpenAI's clients try again; by default as they do for the status. */
  retry?: boolean;
}

/** A call that is not answered, and why. Its message never holds a key. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly particulars: Particulars = {},
  ) {
    super(message);
  }

  /** The body; a stream that breaks off sends it as its last event. */
  get body() {
    const { type = this.status < 500 ? "invalid_request_error" : "server_error", param, facts } =
      this.particulars;
    return {
      error: { ...facts, message: this.message, type, param: param ?? null, code: this.code },
    };
  }

  response(): Response {
    const { headers, retry } = this.particulars;
    return Response.json(this.body, {
      status: this.status,
      headers: {
        ...headers,
        ...(retry === undefined ? {} : { "x-should-retry": String(retry) }),
      },
    });
  }
}

/** A field of the request that is not as it must be. */
export function invalid(param: string, rule: string): Refusal {
  return new Refusal(400, "invalid_value", `${param} ${rule}`, { param });
}
