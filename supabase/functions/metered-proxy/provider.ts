/** The provider that answers: asked in OpenAI's API, with a key no caller sees. */

import { Refusal } from "./refusals.ts";
import type { Settings } from "./settings.ts";

/** Statuses that speak of the caller's own request; others speak of ours, or of the provider. */
const OF_THE_REQUEST = new Set([400, 404, 409, 413, 415, 422]);
const LONGEST_MESSAGE = 1000;

/** Ends what takes too long as a whole, or is silent for too long, and says so where it did. */
export class Deadline {
  readonly #controller = new AbortController();
  readonly #whole: ReturnType<typeof setTimeout>;
  #silence: ReturnType<typeof setTimeout> | undefined;
  hasPassed = false;

  constructor(wholeMs: number) {
    this.#whole = setTimeout(() => this.#pass(), wholeMs);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Bounds the silence that begins now; what it was set to before no longer counts. */
  set(milliseconds: number): void {
    this.clear();
    if (!this.signal.aborted) {
      this.#silence = setTimeout(() => this.#pass(), milliseconds);
    }
  }

  /** Nobody waits at present. The whole is bounded all the same. */
  clear(): void {
    clearTimeout(this.#silence);
  }

  /** Ends it now. */
  abort(): void {
    this.clear();
    clearTimeout(this.#whole);
    this.#controller.abort();
  }

  #pass(): void {
    this.hasPassed = true;
    this.abort();
  }
}

/**
 * Asks for a completion; returns the answer with its body still to be read.
 *
 * @throws Refusal as `providerFailure` has it.
 */
export async function ask(
  settings: Settings,
  body: Record<string, unknown>,
  deadline: Deadline,
): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(`${settings.providerUrl}/chat/completions`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${settings.providerKey}`,
        "content-type": "application/json",
        accept: body.stream === true ? "text/event-stream" : "application/json",
      },
      body: JSON.stringify(body),
      redirect: "error", // the key is for this address
      signal: deadline.signal,
    });
  } catch (error) {
    throw providerFailure(error, deadline);
  }
  if (!response.ok) {
    throw await refused(response, settings);
  }
  return response;
}

/** What a caller is told of a connection that failed: 504 `provider_timeout`, 502 `provider_error`. */
export function providerFailure(error: unknown, deadline: Deadline): Refusal {
  if (error instanceof Refusal) {
    return error;
  }
  if (deadline.hasPassed) {
    return new Refusal(504, "provider_timeout", "the provider took too long to answer");
  }
  console.error("metered-proxy: the provider cannot be reached:", String(error));
  return new Refusal(502, "provider_error", "the provider cannot be reached");
}

/** What a caller is told of an error event, or an answer that is none. */
export function providerBroke(): Refusal {
  return new Refusal(502, "provider_error", "the provider broke off its answer");
}

/** What a caller is told of a status: what is about the request in the provider's own words. */
async function refused(response: Response, settings: Settings): Promise<Refusal> {
  const { status } = response;
  const text = await response.text().catch(() => "");
  const facts = { provider_status: status };
  if (OF_THE_REQUEST.has(status)) {
    const said = errorIn(text);
    const message = said.message ?? `the provider refuses the request with status ${status}`;
    return new Refusal(
      status,
      said.code ?? "provider_refused",
      message.replaceAll(settings.providerKey, "…").slice(0, LONGEST_MESSAGE),
      { facts, retry: false, ...(said.param ? { param: said.param } : {}) },
    );
  }
  if (status === 429) {
    const wait = response.headers.get("retry-after");
    return new Refusal(429, "provider_rate_limited", "the provider limits the rate of requests", {
      type: "rate_limit_error",
      facts,
      headers: wait ? { "retry-after": wait } : {},
    });
  }
  if (status === 401 || status === 402 || status === 403) {
    // Its words are about our key.
    console.error("metered-proxy: the provider does not accept PROVIDER_API_KEY:", status);
    return new Refusal(502, "provider_refused", "the provider does not accept the proxy", {
      facts,
      retry: false,
    });
  }
  return new Refusal(502, "provider_error", `the provider failed with status ${status}`, { facts });
}

interface Said {
  message?: string;
  code?: string;
  param?: string;
}

function errorIn(text: string): Said {
  try {
    const { error } = JSON.parse(text) as { error?: Record<string, unknown> };
    const texts = Object.entries(error ?? {}).filter(([, value]) => typeof value === "string");
    return Object.fromEntries(texts) as Said;
  } catch {
    return {};
  }
}
