import { deepStrictEqual, ok, rejects } from "node:assert/strict";
import { ask, Deadline } from "../../../supabase/functions/metered-proxy/provider.ts";
import { settings } from "./settings.ts";

type Served = (request: Request) => Response | Promise<Response>;

/** Asks a provider that answers like this, and returns its answer. */
async function asked(serve: Served, timeoutMs = 5000) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, serve);
  const deadline = new Deadline(60_000);
  deadline.set(timeoutMs);
  try {
    const url = `http://127.0.0.1:${server.addr.port}/v1`;
    const response = await ask(settings({ PROVIDER_BASE_URL: url }), { model: "m" }, deadline);
    return await response.json();
  } finally {
    deadline.abort();
    await server.shutdown();
  }
}

Deno.test("the key goes to the provider, to the path of its API", async () => {
  const seen = await asked((request) =>
    Response.json([new URL(request.url).pathname, request.headers.get("authorization")])
  );
  deepStrictEqual(seen, ["/v1/chat/completions", "Bearer sk-provider-secret"]);
});

Deno.test("the key does not follow to another address", async () => {
  let followed = false;
  const elsewhere = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => {
    followed = true;
    return new Response();
  });
  const location = `http://127.0.0.1:${elsewhere.addr.port}/`;
  await rejects(asked(() => new Response(null, { status: 307, headers: { location } })), {
    status: 502,
    code: "provider_error",
  });
  await elsewhere.shutdown();
  ok(!followed);
});

Deno.test("a provider that is not there, or silent, is said to be", async () => {
  const deadline = new Deadline(60_000);
  await rejects(ask(settings(), {}, deadline), { status: 502, code: "provider_error" });
  deadline.abort();
  const silent = () => new Promise<Response>((resume) => setTimeout(resume, 50, new Response()));
  await rejects(asked(silent, 10), { status: 504, code: "provider_timeout" });
});

const FAILURES: [number, number, string][] = [
  [400, 400, "provider_refused"],
  [401, 502, "provider_refused"],
  [403, 502, "provider_refused"],
  [404, 404, "provider_refused"],
  [429, 429, "provider_rate_limited"],
  [500, 502, "provider_error"],
  [529, 502, "provider_error"],
];
for (const [given, status, code] of FAILURES) {
  Deno.test(`the provider's ${given} is ${status} ${code}, and never tells the key`, async () => {
    const body = JSON.stringify({ error: { message: "for sk-provider-secret" } });
    const refusal = await asked(() => new Response(body, { status: given })).catch((error) =>
      error
    );
    deepStrictEqual([refusal.status, refusal.code], [status, code]);
    ok(!JSON.stringify(refusal.body).includes("sk-provider-secret"));
  });
}
