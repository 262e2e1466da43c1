import { ok, strictEqual } from "node:assert/strict";
import { answerTokens, promptTokens } from "../../../supabase/functions/metered-proxy/estimates.ts";

const messages = (content: unknown) => ({ messages: [{ role: "user", content }] });

Deno.test("a longer prompt is more tokens, in bytes and not in letters", () => {
  const [short, long, chinese] = ["a".repeat(30), "a".repeat(3030), "你".repeat(1000)];
  const [least, most, far] = [short, long, chinese].map((text) => promptTokens(messages(text)));
  strictEqual(most! - least!, 1000);
  ok(far! >= 1000);
});

Deno.test("tools and schemas are read by the model too", () => {
  const tools = [{ type: "function", function: { name: "look", description: "b".repeat(300) } }];
  ok(promptTokens({ ...messages("hi"), tools }) - promptTokens(messages("hi")) >= 100);
});

Deno.test("an image counts by itself, not by the length of its data", () => {
  const url = `data:image/png;base64,${"A".repeat(400_000)}`;
  const tokens = promptTokens(messages([{ type: "image_url", image_url: { url } }]));
  ok(tokens > 2500 && tokens < 2600, String(tokens));
});

Deno.test("audio counts by its length", () => {
  const audio = (length: number) =>
    promptTokens(messages([{ type: "input_audio", input_audio: { data: "A".repeat(length) } }]));
  strictEqual(audio(40_000) - audio(0), 150);
});

Deno.test("an answer that is foretold is read too", () => {
  const prediction = { type: "content", content: "b".repeat(300) };
  ok(promptTokens({ ...messages("hi"), prediction }) - promptTokens(messages("hi")) >= 100);
});

for (const type of ["image_url", "input_audio", "file"]) {
  Deno.test(`text counts where ${type} is said without being one, or beside one`, () => {
    const text = "word ".repeat(6000);
    const nested = JSON.stringify({ type, data: text });
    const said = [
      { messages: [{ role: "user", type, content: text }] },
      { messages: [{ role: "user", content: { type, text } }] },
      {
        messages: [{ role: "assistant", tool_calls: [{ type, function: { arguments: nested } }] }],
      },
      { ...messages("hi"), tools: [{ type, function: { name: "look", description: text } }] },
      { ...messages("hi"), response_format: { type, json_schema: { description: text } } },
      messages([{ type, text }]),
      messages([{ type, input_audio: { data: "", format: text }, file: { filename: text } }]),
      messages([{ type: "text", text: "hi", image_url: { url: text }, [type]: text }]),
      messages([{ type: "text", text: { type, text } }]),
    ];
    for (const body of said) {
      ok(promptTokens(body) >= 10_000, JSON.stringify(body).slice(0, 100));
    }
  });
}

Deno.test("what is no message or part is no reason to fail", () => {
  for (const content of [null, 7, [null], ["text"], [[]], [{ type: "file", file: null }]]) {
    ok(promptTokens(messages(content)) > 0);
  }
  ok(promptTokens({ messages: [null, "text", 7] }) > 0);
});

Deno.test("an answer is as many tokens as pieces, or more where pieces are long", () => {
  strictEqual(answerTokens(0), 0);
  strictEqual(answerTokens(12, 5), 5);
  strictEqual(answerTokens(400, 1), 100);
});
