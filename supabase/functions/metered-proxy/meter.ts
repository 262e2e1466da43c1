/** What was seen of an answer, and what that makes the call to have used. */

import { answerTokens, byteLength } from "./estimates.ts";
import { providerBroke } from "./provider.ts";
import type { ChatRequest } from "./requests.ts";
import { readUsage, servedTier, type Usage } from "./usage.ts";

type Json = Record<string, unknown>;

/** Reads one call: the chunks of a stream, or a whole answer. */
export class Meter {
  #stated: Usage | null = null;
  #tier: string | undefined;
  #model: string | undefined;
  #pieces = 0;
  #bytes = 0;
  #events = 0;
  #hasFailed = false;

  constructor(readonly request: ChatRequest) {}

  /** Whether the provider said what was used, which it does at the end. */
  get hasUsage(): boolean {
    return this.#stated !== null;
  }

  /** Who answered, where it is another model than was asked, or than a dated name of it. */
  get otherModel(): string | null {
    const { model } = this.request;
    const [served, dated] = [this.#model ?? model, /^[-@]\d{4}-?\d\d-?\d\d$/];
    const isAsked = served === model ||
      served.startsWith(model) && dated.test(served.slice(model.length));
    return isAsked ? null : served;
  }

  /** Whether all the provider said is that it failed, for which nobody pays. */
  get isFailure(): boolean {
    return this.#hasFailed && this.#events === 0 && !this.hasUsage;
  }

  /**
   * Takes in a chunk, or an answer, and returns it.
   *
   * @throws Refusal: it is an error, or nothing that can be read.
   */
  read(text: string): Json {
    const event = parsed(text);
    if (event === null) {
      this.#events += 1;
      this.#bytes += byteLength(text);
      throw providerBroke();
    }
    this.see(event);
    if (this.#hasFailed) {
      throw providerBroke();
    }
    return event;
  }

  /** Takes in what was read. */
  see(event: Json): void {
    this.#stated = readUsage(event) ?? this.#stated;
    this.#tier = servedTier(event) ?? this.#tier;
    this.#model = text(event.model) ?? this.#model;
    if (event.error) {
      this.#hasFailed = true;
      return;
    }
    this.#events += 1;
    const bytes = choices(event).map(generated).reduce((sum, length) => sum + length, 0);
    this.#bytes += bytes;
    this.#pieces += Number(bytes > 0);
  }

  /**
   * What to settle: the usage as stated; where nobody stated it, the prompt as it was held for and
   * the answer as far as it came and was allowed, flagged as an estimate. Reasoning that was not
   * shown is missing.
   */
  get usage(): Usage {
    const usage = this.#stated ?? {
      input_tokens: this.request.inputTokens,
      output_tokens: Math.min(
        answerTokens(this.#bytes, this.#pieces),
        this.request.maxOutputTokens,
      ),
      is_estimate: true,
    };
    return this.#tier ? { ...usage, service_tier: this.#tier } : usage;
  }
}

/** Whether a chunk brings the usage and nothing else: the one that `include_usage` adds. */
export function isUsageAlone(chunk: Json): boolean {
  return Boolean(chunk.usage) && choices(chunk).length === 0;
}

function parsed(text: string): Json | null {
  try {
    return object(JSON.parse(text));
  } catch {
    return null;
  }
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() ? value : undefined;
}

function object(value: unknown): Json | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Json
    : null;
}

function choices(event: Json): Json[] {
  return objects(event.choices);
}

function objects(list: unknown): Json[] {
  return Array.isArray(list) ? list.map(object).filter((value) => value !== null) : [];
}

/** How many bytes of text a choice brings. */
function generated(choice: Json): number {
  const message = object(choice.delta) ?? object(choice.message) ?? {};
  const { content, refusal, reasoning_content, reasoning, tool_calls, function_call, audio } =
    message;
  const calls = objects([function_call, ...objects(tool_calls)]).flatMap((call) => {
    const { name, arguments: given } = object(call.function) ?? object(call.custom) ?? call;
    return [name, given];
  });
  return [content, refusal, reasoning_content ?? reasoning, object(audio)?.transcript, ...calls]
    .filter((text): text is string => typeof text === "string")
    .reduce((sum, text) => sum + byteLength(text), 0);
}
