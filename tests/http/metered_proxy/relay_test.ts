import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { Meter } from "../../../supabase/functions/metered-proxy/meter.ts";
import { Deadline } from "../../../supabase/functions/metered-proxy/provider.ts";
import { relay } from "../../../supabase/functions/metered-proxy/relay.ts";
import type { ChatRequest } from "../../../supabase/functions/metered-proxy/requests.ts";

const piece = (content: string) => JSON.stringify({ choices: [{ delta: { content } }] });
const USAGE = JSON.stringify({ choices: [], usage: { prompt_tokens: 9, completion_tokens: 2 } });
const ASKED = { model: "gpt-4o", inputTokens: 7, maxOutputTokens: 20 } as ChatRequest;
const lines = (...data: string[]) => data.map((line) => `data: ${line}\n\n`).join("");
const USAGE_LINES = lines(USAGE, "[DONE]");

/** Relays what a provider sends in such chunks of bytes; it ends, or stays silent. */
function relayed(
  chunks: (string | Uint8Array)[],
  { wantsUsage = false, isOpen = false, idleMs = 1000, wholeMs = 1000 } = {},
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
  const deadline = new Deadline(wholeMs);
  // As fetch does: what the deadline ends fails.
  const controller = new TransformStream<Uint8Array, Uint8Array>();
  body.pipeTo(controller.writable, { signal: deadline.signal }).catch(() => {});
  const meter = new Meter({ ...ASKED, wantsUsage });
  const ended = { times: 0 };
  const stream = relay(controller.readable, {
    meter,
    deadline,
    idleMs,
    end: () => {
      ended.times += 1;
      return Promise.resolve();
    },
  });
  return { stream, meter, ended, provider };
}

const all = (stream: ReadableStream<Uint8Array>) => new Response(stream).text();

Deno.test("events are passed on, but for the usage nobody asked for", async () => {
  const sent = lines(piece("Hel"), piece("lo"), USAGE, "[DONE]");
  const { stream, meter, ended } = relayed([sent]);
  strictEqual(await all(stream), lines(piece("Hel"), piece("lo"), "[DONE]"));
  deepStrictEqual(meter.usage, { input_tokens: 9, output_tokens: 2 });
  strictEqual(ended.times, 1);
});

Deno.test("the usage is passed on to who asked for it", async () => {
  const sent = lines(piece("Hello"), USAGE, "[DONE]");
  strictEqual(await all(relayed([sent], { wantsUsage: true }).stream), sent);
});

Deno.test("bytes may be cut anywhere, also inside a letter", async () => {
  const sent = lines(piece("naïve 你好"), USAGE, "[DONE]").replaceAll("\n", "\r\n");
  const bytes = [...new TextEncoder().encode(sent)].map((byte) => new Uint8Array([byte]));
  const { stream, ended } = relayed(bytes);
  strictEqual(await all(stream), lines(piece("naïve 你好"), "[DONE]"));
  strictEqual(ended.times, 1);
});

Deno.test("a stream without its last line is whole where it said its usage", async () => {
  const { stream, ended } = relayed([lines(piece("Hello"), USAGE)]);
  strictEqual(await all(stream), lines(piece("Hello"), "[DONE]"));
  strictEqual(ended.times, 1);
});

Deno.test("a stream that is cut off ends with an error, and is estimated", async () => {
  const { stream, meter, ended } = relayed([lines(piece("Hello"), piece(" world, hello"))]);
  const text = await all(stream);
  ok(text.includes('"code":"provider_error"') && !text.includes("[DONE]"), text);
  deepStrictEqual(meter.usage, {
    input_tokens: 7,
    output_tokens: 5,
    is_estimate: true,
  });
  strictEqual(ended.times, 1);
});

for (const broken of ['{"error": {"message": "key sk-provider-secret"}}', "no JSON"]) {
  Deno.test(`the provider's ${broken} is told in our words`, async () => {
    const { stream, ended } = relayed([lines(piece("Hello"), broken)]);
    const text = await all(stream);
    ok(text.includes("provider_error") && !text.includes("sk-provider-secret"), text);
    strictEqual(ended.times, 1);
  });
}

Deno.test("a provider that falls silent is given up", async () => {
  const { stream, ended } = relayed([lines(piece("Hello"))], { isOpen: true, idleMs: 20 });
  ok((await all(stream)).includes("provider_timeout"));
  strictEqual(ended.times, 1);
});

Deno.test("a caller who takes nothing holds nothing up for ever", async () => {
  const sent = lines(piece("Hello"), piece(" again"), USAGE);
  const { stream, meter, ended, provider } = relayed([sent], { isOpen: true, wholeMs: 30 });
  const reader = stream.getReader();
  await reader.read();
  while (ended.times === 0) {
    await new Promise((resume) => setTimeout(resume, 5));
  }
  ok(provider.isCancelled);
  deepStrictEqual(meter.usage, { input_tokens: 7, output_tokens: 2, is_estimate: true });
  const { value } = await reader.read();
  ok(new TextDecoder().decode(value).includes("provider_timeout"));
  ok((await reader.read()).done);
  strictEqual(ended.times, 1);
});

Deno.test("nor does one whose connection is full", async () => {
  const pieces = Array.from({ length: 100 }, () => lines(piece("y".repeat(200_000))));
  const { stream, ended, provider } = relayed(pieces, { wholeMs: 300 });
  const listening = { hostname: "127.0.0.1", port: 0, onListen() {} };
  const server = Deno.serve(listening, () => new Response(stream));
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.addr.port });
  await connection.write(new TextEncoder().encode("GET / HTTP/1.1\r\nhost: proxy\r\n\r\n"));
  while (ended.times === 0) {
    await new Promise((resume) => setTimeout(resume, 5));
  }
  ok(provider.isCancelled);
  connection.close();
  await server.shutdown();
});

Deno.test("a stream that never ends does", async () => {
  const { stream, ended } = relayed([lines(piece("Hello"))], { isOpen: true, wholeMs: 30 });
  ok((await all(stream)).includes("provider_timeout"));
  strictEqual(ended.times, 1);
});

Deno.test("an answer is never estimated above its limit", () => {
  const meter = new Meter(ASKED);
  meter.read(piece("word ".repeat(1000)));
  strictEqual(meter.usage.output_tokens, 20);
});

Deno.test("comments are passed on while there is nothing else to say", async () => {
  const { stream } = relayed([": thinking\n\n", lines(piece("Hello")), ": more\n\n", USAGE_LINES]);
  const text = await all(stream);
  ok(text.startsWith(":\n\n") && text.endsWith("data: [DONE]\n\n"), text);
  strictEqual(text.replaceAll(":\n\n", ""), lines(piece("Hello"), "[DONE]"));
});

Deno.test("a caller who goes away ends the provider's answer", async () => {
  const { stream, meter, ended, provider } = relayed([lines(piece("Hel"), piece("lo"))], {
    isOpen: true,
  });
  const reader = stream.getReader();
  await reader.read();
  await reader.cancel();
  await new Promise((resume) => setTimeout(resume));
  strictEqual(ended.times, 1);
  ok(provider.isCancelled);
  deepStrictEqual(meter.usage, {
    input_tokens: 7,
    output_tokens: 1,
    is_estimate: true,
  });
});

Deno.test("tool calls, refusals and reasoning are generated too", () => {
  const meter = new Meter(ASKED);
  const call = { function: { name: "look", arguments: '{"up": 1}' } };
  meter.see({ choices: [{ delta: { role: "assistant", content: "" } }] });
  meter.see({ choices: [{ delta: { tool_calls: [call] } }] });
  meter.see({ choices: [{ delta: { reasoning_content: "hm" } }] });
  strictEqual(meter.usage.output_tokens, 4); // 15 bytes
});

Deno.test("choices that are none are passed over, and the usage read", () => {
  for (const choices of [[null], [7, "text", []], "none", [{ delta: 7 }], [{ message: null }]]) {
    const meter = new Meter(ASKED);
    const usage = { prompt_tokens: 9, completion_tokens: 2 };
    meter.read(JSON.stringify({ choices, usage }));
    deepStrictEqual(meter.usage, { input_tokens: 9, output_tokens: 2 });
  }
  const odd = { tool_calls: [null, 7, { function: 7 }], function_call: 7, audio: 7, content: [] };
  const meter = new Meter(ASKED);
  meter.read(JSON.stringify({ choices: [{ delta: odd }] }));
  strictEqual(meter.usage.output_tokens, 0);
});

Deno.test("only a failure and nothing else costs nothing", () => {
  const failure = '{"error": {"message": "overloaded"}}';
  const paid =
    '{"error": {"message": "cut"}, "usage": {"prompt_tokens": 9, "completion_tokens": 2}}';
  const cases: [string[], boolean][] = [
    [[failure], true],
    [[paid], false],
    [[piece("Hel"), failure], false],
    [["no JSON"], false],
    [["null"], false],
  ];
  for (const [events, isFailure] of cases) {
    const meter = new Meter(ASKED);
    const [last, ...first] = events.toReversed();
    first.forEach((event) => meter.read(event));
    throws(() => meter.read(last!), { code: "provider_error" });
    strictEqual(meter.isFailure, isFailure, events.join());
  }
});

const MODELS: [string, unknown, string | null][] = [
  ["gpt-4o", "gpt-4o", null],
  ["gpt-4o", "gpt-4o-2024-08-06", null],
  ["claude-haiku", "claude-haiku@20241022", null],
  ["gpt-4o", undefined, null],
  ["gpt-4o", "", null],
  ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini"],
  ["gpt-4", "gpt-4-32k-2024-08-06", "gpt-4-32k-2024-08-06"],
  ["gpt-4o-2024-08-06", "gpt-4o", "gpt-4o"],
  ["gpt.4o", "gpt-4o", "gpt-4o"],
];
for (const [asked, served, other] of MODELS) {
  Deno.test(`${served} is ${other === null ? "what was asked for" : "not"} ${asked}`, () => {
    const meter = new Meter({ ...ASKED, model: asked });
    meter.see({ model: served, choices: [] });
    strictEqual(meter.otherModel, other);
  });
}

Deno.test("the tier that served goes with the usage", () => {
  const meter = new Meter(ASKED);
  meter.see({ service_tier: "flex", usage: { prompt_tokens: 9, completion_tokens: 2 } });
  deepStrictEqual(meter.usage, {
    input_tokens: 9,
    output_tokens: 2,
    service_tier: "flex",
  });
});
