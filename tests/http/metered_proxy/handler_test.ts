import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { createHandler } from "../../../supabase/functions/metered-proxy/handler.ts";
import { ENVIRONMENT } from "./settings.ts";

const URL = "http://proxy/functions/v1/metered-proxy/v1/chat/completions";
const part = (json: unknown) => btoa(JSON.stringify(json)).replace(/=+$/, "");
const SIGNED = [
  part({ alg: "HS256", typ: "JWT" }),
  part({ sub: "somebody", role: "authenticated", exp: 4102444800 }),
  "c2lnbmF0dXJl",
].join(".");

async function answered(request: Request, environment: Record<string, string> = ENVIRONMENT) {
  const response = await createHandler((name) => environment[name])(request);
  const text = await response.text();
  const code = text ? JSON.parse(text).error.code : null;
  return [response.status, code, response.headers.get("access-control-allow-origin")];
}

const post = (url: string, headers: Record<string, string> = {}) =>
  new Request(url, { method: "POST", body: "{}", headers });

Deno.test("a page's browser is told that it may call", async () => {
  deepStrictEqual(await answered(new Request(URL, { method: "OPTIONS" })), [204, null, "*"]);
});

Deno.test("it is mounted under its name, or alone", async () => {
  for (const path of ["/v1/chat/completions", "/metered-proxy/v1/chat/completions/"]) {
    deepStrictEqual(await answered(post(`http://proxy${path}`)), [401, "invalid_api_key", "*"]);
  }
  deepStrictEqual(await answered(post("http://proxy/v1/models")), [404, "not_found", "*"]);
});

Deno.test("it is asked by POST", async () => {
  deepStrictEqual(await answered(new Request(URL)), [405, "method_not_allowed", "*"]);
});

Deno.test("without a provider it says so", async () => {
  const { PROVIDER_API_KEY: _, ...rest } = ENVIRONMENT;
  deepStrictEqual(await answered(post(URL), rest), [503, "not_configured", "*"]);
});

Deno.test("where Auth does not answer nobody is turned away for good", async () => {
  const [status, code] = await answered(post(URL, { authorization: `Bearer ${SIGNED}` }));
  deepStrictEqual([status, code], [503, "auth_unavailable"]);
});

Deno.test("what is no token is refused without asking anybody", async () => {
  for (const token of ["nonsense", "a.b.c", "..", `${SIGNED}.${SIGNED}`]) {
    const [status, code] = await answered(post(URL, { authorization: `Bearer ${token}` }));
    strictEqual(`${token}: ${status} ${code}`, `${token}: 401 invalid_api_key`);
  }
});
