/** Calls through the metered proxy: what any client of OpenAI's API does, by hand. */

import { EventSourceParserStream } from "eventsource-parser/stream";
import { dollars, usd } from "./money.ts";

export interface Chat {
  model: string;
  messages: { role: "user"; content: string }[];
}

interface ErrorBody {
  message: string;
  code: string;
  remaining_usd?: string | null;
  resets_at?: string | null;
  affordable_output_tokens?: number | null;
}

/** A call that was not answered. */
export class Refused extends Error {
  constructor(readonly body: ErrorBody) {
    super(body.message);
  }

  /** Why, and what is left. */
  get explanation(): string {
    const { message, remaining_usd, resets_at, affordable_output_tokens } = this.body;
    return [
      `Refused: ${message}.`,
      remaining_usd ? `${dollars(usd(remaining_usd))} left.` : "",
      affordable_output_tokens ? `Enough for ${affordable_output_tokens} tokens.` : "",
      resets_at ? `Resets ${new Date(resets_at).toLocaleString()}.` : "",
    ].filter(Boolean).join(" ");
  }
}

/**
 * Yields the text of an answer as it comes.
 *
 * @throws Refused, also where the answer breaks off.
 */
export async function* streamAnswer(
  url: string,
  token: string,
  organizationId: string,
  chat: Chat,
): AsyncGenerator<string> {
  const response = await fetch(`${url}/functions/v1/metered-proxy/v1/chat/completions`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "openai-organization": organizationId,
      "idempotency-key": crypto.randomUUID(),
    },
    body: JSON.stringify({ ...chat, stream: true }),
  });
  if (!response.ok || !response.body) {
    throw new Refused((await response.json()).error);
  }
  const events = response.body
    .pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
    .pipeThrough(new EventSourceParserStream());
  const reader = events.getReader();
  while (true) {
    const { value, done } = await reader.read();
    if (done || value.data === "[DONE]") {
      return;
    }
    const chunk = JSON.parse(value.data);
    if (chunk.error) {
      throw new Refused(chunk.error);
    }
    const piece = chunk.choices?.[0]?.delta?.content;
    if (piece) {
      yield piece;
    }
  }
}
