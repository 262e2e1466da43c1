import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Meter } from "../../../supabase/functions/metered-proxy/meter.ts";
import { Deadline } from "../../../supabase/functions/metered-proxy/provider.ts";
import { relay } from "../../../supabase/functions/metered-proxy/relay.ts";
import type { ChatRequest } from "../../../supabase/functions/metered-proxy/requests.ts";

const piece = (content: string) => JSON.stringify({ choices: [{ delta: { content } }] });
const USAGE = JSON.stringify({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 2 } });
const lines = (...data: string[]) => data.map((line) => `data: ${line}\n\n`).join("");
const USAGE_LINES = lines(USAGE, "[DONE]");

/** Relays what a provider sends in such chunks of bytes; it ends, or stays silent. */
function relayed(
  chunks: (string | Uint8Array)[],
  { wantsUsage = false, isOpen = false, idleMs = 1000 } = {},
) {
  const provider = { isCancelled: false };
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) {
        controller.enqueue(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk);
      }
      if (!isOpen) {
        controller.close();
      }
    },
    cancel() {
      provider.isCancelled = true;
    },
  });
  const deadline = new Deadline();
  // As fetch does: what the deadline ends fails.
  const controller = new TransformStream<Uint8Array, Uint8Array>();
  body.pipeTo(controller.writable, { signal: deadline.signal }).catch(() => {});
  const meter = new Meter({ wantsUsage, inputTokens: 7 } as ChatRequest);
  const endings: string[] = [];
  const stream = relay(controller.readable, {
    meter,
    deadline,
    idleMs,
    end: (ending) => {
      endings.push(ending);
      return Promise.resolve();
    },
  });
  return { stream, meter, endings, provider };
}

const all = (stream: ReadableStream<Uint8Array>) => new Response(stream).text();

Deno.test("events are passed on, but for the usage nobody asked for", async () => {
  const sent = lines(piece("Hel"), piece("lo"), USAGE, "[DONE]");
  const { stream, meter, endings } = relayed([sent]);
  strictEqual(await all(stream), lines(piece("Hel"), piece("lo"), "[DONE]"));
  deepStrictEqual(meter.usage, { input_tokens: 9, output_tokens: 2 });
  deepStrictEqual(endings, ["complete"]);
});

Deno.test("the usage is passed on to who asked for it", async () => {
  const sent = lines(piece("Hello"), USAGE, "[DONE]");
  strictEqual(await all(relayed([sent], { wantsUsage: true }).stream), sent);
});

Deno.test("bytes may be cut anywhere, also inside a letter", async () => {
  const sent = lines(piece("naïve 你好"), USAGE, "[DONE]").replaceAll("\n", "\r\n");
  const bytes = [...new TextEncoder().encode(sent)].map((byte) => new Uint8Array([byte]));
  const { stream, endings } = relayed(bytes);
  strictEqual(await all(stream), lines(piece("naïve 你好"), "[DONE]"));
  deepStrictEqual(endings, ["complete"]);
});

Deno.test("a stream without its last line is whole where it said its usage", async () => {
  const { stream, endings } = relayed([lines(piece("Hello"), USAGE)]);
  strictEqual(await all(stream), lines(piece("Hello"), "[DONE]"));
  deepStrictEqual(endings, ["complete"]);
});

Deno.test("a stream that is cut off ends with an error, and is estimated", async () => {
  const { stream, meter, endings } = relayed([lines(piece("Hello"), piece(" world, hello"))]);
  const text = await all(stream);
  ok(text.includes('"code":"provider_error"') && !text.includes("[DONE]"), text);
  deepStrictEqual(meter.usage, {
    input_tokens: 7,
    output_tokens: 5,
    is_estimate: true,
  });
  deepStrictEqual(endings, ["broken"]);
});

for (const broken of ['{"error": {"message": "key sk-provider-secret"}}', "no JSON"]) {
  Deno.test(`the provider's ${broken} is told in our words`, async () => {
    const { stream, endings } = relayed([lines(piece("Hello"), broken)]);
    const text = await all(stream);
    ok(text.includes("provider_error") && !text.includes("sk-provider-secret"), text);
    deepStrictEqual(endings, ["broken"]);
  });
}

Deno.test("a provider that falls silent is given up", async () => {
  const { stream, endings } = relayed([lines(piece("Hello"))], { isOpen: true, idleMs: 20 });
  ok((await all(stream)).includes("provider_timeout"));
  deepStrictEqual(endings, ["broken"]);
});

Deno.test("comments are passed on while there is nothing else to say", async () => {
  const { stream } = relayed([": thinking\n\n", lines(piece("Hello")), ": more\n\n", USAGE_LINES]);
  const text = await all(stream);
  ok(text.startsWith(":\n\n") && text.endsWith("data: [DONE]\n\n"), text);
  strictEqual(text.replaceAll(":\n\n", ""), lines(piece("Hello"), "[DONE]"));
});

Deno.test("a caller who goes away ends the provider's answer", async () => {
  const { stream, meter, endings, provider } = relayed([lines(piece("Hel"), piece("lo"))], {
    isOpen: true,
  });
  const reader = stream.getReader();
  await reader.read();
  await reader.cancel();
  await new Promise((resume) => setTimeout(resume));
  deepStrictEqual(endings, ["caller gone"]);
  ok(provider.isCancelled);
  deepStrictEqual(meter.usage, {
    input_tokens: 7,
    output_tokens: 1,
    is_estimate: true,
  });
});

Deno.test("tool calls, refusals and reasoning are generated too", () => {
  const meter = new Meter({ inputTokens: 7 } as ChatRequest);
  const call = { function: { name: "look", arguments: '{"up": 1}' } };
  meter.see({ choices: [{ delta: { role: "assistant", content: "" } }] });
  meter.see({ choices: [{ delta: { tool_calls: [call] } }] });
  meter.see({ choices: [{ delta: { reasoning_content: "hm" } }] });
  strictEqual(meter.usage.output_tokens, 4); // 15 bytes
});

Deno.test("the tier that served goes with the usage", () => {
  const meter = new Meter({ inputTokens: 7 } as ChatRequest);
  meter.see({ service_tier: "flex", usage: { prompt_tokens: 9, completion_tokens: 2 } });
  deepStrictEqual(meter.usage, {
    input_tokens: 9,
    output_tokens: 2,
    service_tier: "flex",
  });
});
