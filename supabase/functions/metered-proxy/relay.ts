/** A stream on its way to the caller: every event is read in passing. */

import { type EventSourceMessage, EventSourceParserStream } from "eventsource-parser/stream";
import { isUsageAlone, type Meter } from "./meter.ts";
import { type Deadline, providerBroke, providerFailure } from "./provider.ts";

export interface Watch {
  meter: Meter;
  /** Ends the provider's answer when it passes or is told to. */
  deadline: Deadline;
  /** How long the provider may be silent. */
  idleMs: number;
  /** Called once, however it ends; the last event waits for it. */
  end: () => Promise<void>;
}

/**
 * Passes the events of an answer on as the caller takes them, and tells when it ends.
 *
 * A stream that breaks off ends with an error event, which OpenAI's clients raise. The chunk with
 * the usage is for us, unless the caller asked for it too.
 */
export function relay(
  answer: ReadableStream<Uint8Array>,
  watch: Watch,
): ReadableStream<Uint8Array> {
  const { meter, deadline, idleMs } = watch;
  const events = answer
    .pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
    .pipeThrough(new EventSourceParserStream({ onComment: comment }))
    .getReader();
  const encoder = new TextEncoder();
  let caller: ReadableStreamDefaultController<Uint8Array>;
  let ended = false;
  let isListening = false;

  const send = (lines: string) => caller.enqueue(encoder.encode(`${lines}\n\n`));

  /**
   * A comment says that the provider still works on it, so it is waited for anew. It is passed on,
   * as only writing tells whether the caller is still there.
   */
  function comment(): void {
    if (isListening && !ended) {
      deadline.set(idleMs);
      send(":");
    }
  }

  /** Tells the caller what went wrong, as the last event. */
  async function breakOff(error: unknown): Promise<void> {
    const failure = providerFailure(error, deadline);
    await end();
    send(`data: ${JSON.stringify(failure.body)}`);
    caller.close();
  }

  /** The time for the whole passes also while the caller takes nothing and nobody listens. */
  function overdue(): void {
    if (!isListening && !ended) {
      breakOff(deadline.signal.reason).catch(() => {}); // the caller is gone
    }
  }

  async function end(): Promise<void> {
    if (!ended) {
      ended = true;
      deadline.abort();
      events.cancel().catch(() => {}); // it may have failed before
      await watch.end();
    }
  }

  /** The next event, or null at the end. */
  async function next(): Promise<EventSourceMessage | null> {
    isListening = true;
    deadline.set(idleMs);
    try {
      const { value, done } = await events.read();
      return done ? null : value;
    } finally {
      isListening = false;
      deadline.clear();
    }
  }

  /** What the next event becomes; null at the end. */
  async function passed(): Promise<string | null> {
    while (true) {
      const event = await next();
      if (event === null || event.data === "[DONE]") {
        // Some services leave the last line out.
        if (event === null && !meter.hasUsage) {
          throw providerBroke();
        }
        await end();
        return null;
      }
      const chunk = meter.read(event.data);
      if (meter.request.wantsUsage || !isUsageAlone(chunk)) {
        return event.data;
      }
    }
  }

  return new ReadableStream({
    start(controller) {
      caller = controller;
      deadline.signal.addEventListener("abort", overdue);
    },
    async pull() {
      try {
        const data = await passed();
        if (data !== null) {
          return send(`data: ${data}`);
        }
        send("data: [DONE]");
      } catch (error) {
        if (ended) {
          return; // the caller is gone, and the provider was told so
        }
        return await breakOff(error);
      }
      caller.close();
    },
    async cancel() {
      await end();
    },
  }, { highWaterMark: 0 });
}
