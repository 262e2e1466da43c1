import { strictEqual, throws } from "node:assert/strict";
import { settings } from "./settings.ts";

Deno.test("the provider's address is taken without its last slash", () => {
  strictEqual(settings().providerUrl, "http://127.0.0.1:9/v1");
});

Deno.test("keys come from the dictionaries Supabase sets, else from those of old", () => {
  strictEqual(settings().secretKey, "sb_secret_x");
  strictEqual(
    settings({ SUPABASE_SECRET_KEYS: '{"other": "sb_secret_y"}' }).secretKey,
    "sb_secret_y",
  );
  const old = settings({ SUPABASE_SECRET_KEYS: undefined, SUPABASE_SERVICE_ROLE_KEY: "ey.old" });
  strictEqual(old.secretKey, "ey.old");
});

const WRONG = {
  PROVIDER_API_KEY: undefined,
  PROVIDER_BASE_URL: "",
  SUPABASE_SECRET_KEYS: "sb_secret_x",
  PROVIDER_TIMEOUT_SECONDS: "soon",
  PROVIDER_CALL_SECONDS: "541",
  PROVIDER_IDLE_SECONDS: "86400",
  PROVIDER_MAX_OUTPUT_TOKENS: "-1",
};
for (const [name, value] of Object.entries(WRONG)) {
  Deno.test(`${name} = ${value} is said to be wrong, without what it holds`, () => {
    throws(
      () => settings({ [name]: value }),
      (error: Error & { status: number; code: string }) =>
        error.status === 503 && error.code === "not_configured" && error.message.includes(name) &&
        !error.message.includes("sb_secret_x"),
    );
  });
}
