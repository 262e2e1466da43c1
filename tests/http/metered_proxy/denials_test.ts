import { deepStrictEqual, strictEqual } from "node:assert/strict";
import {
  type Decision,
  denial,
  misuse,
} from "../../../supabase/functions/metered-proxy/denials.ts";
import type { ChatRequest } from "../../../supabase/functions/metered-proxy/requests.ts";

const CHAT = { requestId: "once", model: "gpt-4o" } as ChatRequest;
const DENIED = {
  decision: "denied",
  reason: "budget_exceeded",
  remaining_usd: "0.002",
} as Decision;

async function answered(decision: Partial<Decision>) {
  const response = denial({ ...DENIED, ...decision } as Decision, CHAT).response();
  return {
    status: response.status,
    headers: response.headers,
    error: (await response.json()).error,
  };
}

Deno.test("a total that is used up is 402, with what is left, and not tried again", async () => {
  const { status, headers, error } = await answered({ affordable_output_tokens: 175 });
  strictEqual(status, 402);
  strictEqual(headers.get("x-tallystick-remaining-usd"), "0.002");
  strictEqual(headers.get("x-should-retry"), "false");
  strictEqual(headers.get("retry-after"), null);
  strictEqual(error.type, "insufficient_quota");
  strictEqual(error.code, "budget_exceeded");
  strictEqual(error.remaining_usd, "0.002");
  strictEqual(error.affordable_output_tokens, 175);
});

Deno.test("a window that resets is 429 and says when", async () => {
  const resets = new Date(Date.now() + 3600_000).toISOString();
  const { status, headers } = await answered({ resets_at: resets });
  strictEqual(status, 429);
  strictEqual(headers.get("x-tallystick-resets-at"), resets);
  strictEqual(headers.get("x-should-retry"), "false");
  strictEqual(Math.abs(Number(headers.get("retry-after")) - 3600) <= 1, true);
});

Deno.test("one that resets soon is worth waiting for", async () => {
  const { headers } = await answered({ resets_at: new Date(Date.now() + 5_000).toISOString() });
  strictEqual(headers.get("x-should-retry"), "true");
});

Deno.test("an approval names its proposal", async () => {
  const { status, error } = await answered({ decision: "needs_approval", proposal_id: "p" });
  deepStrictEqual([status, error.code, error.proposal_id], [402, "approval_needed", "p"]);
});

const REASONS: Record<string, [number, string]> = {
  unpriced_model: [404, "model_not_found"],
  stale_price: [503, "stale_price"],
  frozen: [403, "frozen"],
  model_not_in_run: [403, "model_not_in_run"],
  run_ended: [402, "run_ended"],
  approval_rejected: [402, "approval_rejected"],
};
for (const [reason, expected] of Object.entries(REASONS)) {
  Deno.test(`${reason} is ${expected.join(" ")}`, async () => {
    const { status, error } = await answered({ reason, remaining_usd: null });
    deepStrictEqual([status, error.code], expected);
  });
}

Deno.test("a request that was settled is not made again", async () => {
  const { status, headers, error } = await answered({ decision: "settled", usage_id: "u" });
  deepStrictEqual([status, error.code, error.usage_id], [409, "request_settled", "u"]);
  strictEqual(headers.get("x-should-retry"), "false");
});

Deno.test("an argument the database refuses is named as the caller knows it", async () => {
  const response = misuse("22023", "an argument is not acceptable", '{"argument": "p_tags"}')
    .response();
  const { error } = await response.json();
  deepStrictEqual([response.status, error.param, error.sqlstate], [400, "tags", "22023"]);
});

Deno.test("letters the database has not are the caller's mistake", async () => {
  for (const sqlstate of ["22P02", "22P05"]) {
    const response = misuse(sqlstate, "unsupported Unicode escape sequence", "\\u0000").response();
    deepStrictEqual([response.status, (await response.json()).error.code], [400, "invalid_value"]);
  }
});

Deno.test("facts never stand in for the error itself", async () => {
  const { error } = await misuse("TS404", "gone", '{"code": "mine", "message": "mine"}').response()
    .json();
  deepStrictEqual([error.code, error.message], ["unknown_id", "gone"]);
});

Deno.test("what is broken inside is not told outside", async () => {
  const response = misuse("XX000", "relation private.secrets is broken", "host db.internal")
    .response();
  const text = await response.text();
  strictEqual(response.status, 503);
  strictEqual(/private|internal/.test(text), false);
});
