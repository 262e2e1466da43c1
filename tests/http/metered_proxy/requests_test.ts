import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { readRequest } from "../../../supabase/functions/metered-proxy/requests.ts";
import { settings } from "./settings.ts";

const CHAT = { model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] };

function read(
  body: unknown,
  headers: Record<string, string> = {},
  environment: Record<string, string> = {},
) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const request = new Request("http://proxy/", { method: "POST", body: text, headers });
  return readRequest(request, settings(environment));
}

Deno.test("an answer without a limit gets one, as more was not held", async () => {
  const unlimited = await read(CHAT);
  strictEqual(unlimited.body.max_completion_tokens, 4096);
  strictEqual(unlimited.maxOutputTokens, 4096);
  const limited = await read({ ...CHAT, max_tokens: 20, n: 3 });
  strictEqual(limited.maxOutputTokens, 60);
});

for (const field of ["max_completion_tokens", "max_tokens"]) {
  Deno.test(`the limit that is held for is told in ${field}, where that is obeyed`, async () => {
    const asked = [{ max_completion_tokens: 20 }, { max_tokens: 20 }, {
      max_completion_tokens: 20,
      max_tokens: 20,
    }];
    for (const limits of asked) {
      const { body } = await read({ ...CHAT, ...limits }, {}, {
        PROVIDER_OUTPUT_LIMIT_FIELD: field,
      });
      deepStrictEqual(body, { ...CHAT, [field]: 20 });
    }
  });
}

Deno.test("a stream always reports its usage to us", async () => {
  const stream = await read({
    ...CHAT,
    stream: true,
    stream_options: { include_obfuscation: false },
  });
  deepStrictEqual(stream.body.stream_options, { include_obfuscation: false, include_usage: true });
  strictEqual(stream.wantsUsage, false);
  const asked = await read({ ...CHAT, stream: true, stream_options: { include_usage: true } });
  ok(asked.wantsUsage);
  strictEqual((await read(CHAT)).body.stream_options, undefined);
});

Deno.test("null is as good as nothing", async () => {
  const nothing = { stream: null, stream_options: null, n: null, max_tokens: null };
  const { isStream, wantsUsage, maxOutputTokens } = await read({ ...CHAT, ...nothing });
  deepStrictEqual([isStream, wantsUsage, maxOutputTokens], [false, false, 4096]);
});

const UNPRICED = ["models", "route", "provider", "plugins", "web_search_options", "top_k", ""];
for (const name of [...UNPRICED, "__proto__", "constructor"]) {
  Deno.test(`the field "${name}" is not passed on, as nobody knows what it costs`, async () => {
    const body = JSON.stringify(CHAT).replace("{", `{"${name}": null, `);
    await rejects(read(body), {
      status: 400,
      code: "unknown_parameter",
      particulars: { param: name },
    });
  });
}

Deno.test("fields that the provider has beside OpenAI's are passed on where it is told", async () => {
  const { body } = await read({ ...CHAT, top_k: 5 }, {}, {
    PROVIDER_EXTRA_FIELDS: "min_p, top_k",
  });
  strictEqual(body.top_k, 5);
});

Deno.test("tools are the caller's own", async () => {
  const tools = [{ type: "function", function: { name: "look" } }, { type: "custom", custom: {} }];
  deepStrictEqual((await read({ ...CHAT, tools })).body.tools, tools);
  for (const tool of [{ type: "web_search" }, { google_search: {} }, null, "function"]) {
    await rejects(read({ ...CHAT, tools: [...tools, tool] }), {
      status: 400,
      particulars: { param: "tools" },
    });
  }
});

Deno.test("headers say what a call belongs to", async () => {
  const id = "0190f0a0-0000-7000-8000-000000000001";
  const chat = await read(CHAT, {
    "openai-organization": id,
    "x-tallystick-workflow-id": id,
    "x-tallystick-tags": "feature=chat, team=red",
    "idempotency-key": "once",
  });
  strictEqual(chat.organizationId, id);
  strictEqual(chat.workflowId, id);
  strictEqual(chat.runId, null);
  strictEqual(chat.requestId, "once");
  deepStrictEqual(chat.tags, { feature: "chat", team: "red" });
});

Deno.test("a request has a name of its own where nobody gives it one", async () => {
  strictEqual((await read(CHAT, { "x-request-id": "theirs" })).requestId, "theirs");
  ok((await read(CHAT)).requestId !== (await read(CHAT)).requestId);
});

const WRONG: [string, unknown, Record<string, string>, string | undefined][] = [
  ["no JSON", "{", {}, undefined],
  ["no object", "[]", {}, undefined],
  ["no model", { ...CHAT, model: " " }, {}, "model"],
  ["no messages", { ...CHAT, messages: [] }, {}, "messages"],
  ["no answer wanted", { ...CHAT, max_tokens: 0 }, {}, "max_tokens"],
  ["two limits", { ...CHAT, max_completion_tokens: 1, max_tokens: 9 }, {}, "max_tokens"],
  ["tools that are no list", { ...CHAT, tools: "look" }, {}, "tools"],
  ["half a choice", { ...CHAT, n: 1.5 }, {}, "n"],
  ["a tier that is no text", { ...CHAT, service_tier: 1 }, {}, "service_tier"],
  ["a stream in words", { ...CHAT, stream: "true" }, {}, "stream"],
  ["a stream in numbers", { ...CHAT, stream: 1 }, {}, "stream"],
  ["a list of options", { ...CHAT, stream: true, stream_options: [] }, {}, "stream_options"],
  ["options in words", { ...CHAT, stream: true, stream_options: "usage" }, {}, "stream_options"],
  [
    "a usage asked for in words",
    { ...CHAT, stream: true, stream_options: { include_usage: "yes" } },
    {},
    "include_usage",
  ],
  [
    "an organization that is no id",
    CHAT,
    { "openai-organization": "org-1" },
    "openai-organization",
  ],
  ["a tag without a value", CHAT, { "x-tallystick-tags": "chat" }, "x-tallystick-tags"],
  ["a name that is too long", CHAT, { "idempotency-key": "a".repeat(256) }, "idempotency-key"],
];
for (const [what, body, headers, param] of WRONG) {
  Deno.test(`${what} is refused with the field that is wrong`, async () => {
    await rejects(read(body, headers), { status: 400, particulars: param ? { param } : {} });
  });
}
