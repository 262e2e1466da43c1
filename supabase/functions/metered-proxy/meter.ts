/** What was seen of an answer, and what that makes the call to have used. */

import { answerTokens, byteLength } from "./estimates.ts";
import type { ChatRequest } from "./requests.ts";
import { readUsage, servedTier, type Usage } from "./usage.ts";

type Json = Record<string, unknown>;

/** Reads one call: the chunks of a stream, or a whole answer. */
export class Meter {
  #stated: Usage | null = null;
  #tier: string | undefined;
  #pieces = 0;
  #bytes = 0;
  #events = 0;

  constructor(readonly request: ChatRequest) {}

  /** Whether anything came. */
  get hasBegun(): boolean {
    return this.#events > 0;
  }

  /** Whether the provider said what was used, which it does at the end. */
  get hasUsage(): boolean {
    return this.#stated !== null;
  }

  /** Takes in a chunk, or an answer. */
  see(event: Json): void {
    this.#events += 1;
    this.#stated = readUsage(event) ?? this.#stated;
    this.#tier = servedTier(event) ?? this.#tier;
    const bytes = choices(event).map(generated).reduce((sum, length) => sum + length, 0);
    this.#bytes += bytes;
    this.#pieces += Number(bytes > 0);
  }

  /**
   * What to settle: the usage as stated; where nobody stated it, the prompt as it was held for and
   * the answer as far as it came, flagged as an estimate. Reasoning that was not shown is missing.
   */
  get usage(): Usage {
    const usage = this.#stated ?? {
      input_tokens: this.request.inputTokens,
      output_tokens: answerTokens(this.#bytes, this.#pieces),
      is_estimate: true,
    };
    return this.#tier ? { ...usage, service_tier: this.#tier } : usage;
  }
}

/** Whether a chunk brings the usage and nothing else: the one that `include_usage` adds. */
export function isUsageAlone(chunk: Json): boolean {
  return Boolean(chunk.usage) && choices(chunk).length === 0;
}

function choices(event: Json): Json[] {
  return Array.isArray(event.choices) ? event.choices : [];
}

/** How many bytes of text a choice brings. */
function generated(choice: Json): number {
  const { content, refusal, reasoning_content, reasoning, tool_calls, function_call, audio } =
    (choice.delta ?? choice.message ?? {}) as Json;
  const calls = [function_call, ...(Array.isArray(tool_calls) ? tool_calls : [])].flatMap(
    (call) => {
      const { name, arguments: given } = call?.function ?? call ?? {};
      return [name, given];
    },
  );
  const transcript = (audio as Json | null | undefined)?.transcript;
  return [content, refusal, reasoning_content ?? reasoning, transcript, ...calls]
    .filter((text): text is string => typeof text === "string")
    .reduce((sum, text) => sum + byteLength(text), 0);
}
