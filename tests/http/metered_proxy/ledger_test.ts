import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import type { Client } from "../../../supabase/functions/metered-proxy/callers.ts";
import {
  authorize,
  claim,
  costOfOther,
  type Hold,
  release,
  settle,
} from "../../../supabase/functions/metered-proxy/ledger.ts";
import type { ChatRequest } from "../../../supabase/functions/metered-proxy/requests.ts";
import { settings } from "./settings.ts";

const HOLD: Hold = { id: "hold", organizationId: "acme", heldUsd: "0.008" };
const NOTHING = { workflowId: null, runId: null, ventureId: null, serviceTier: null };
const CHAT = { model: "m", tags: {}, requestId: "once", ...NOTHING } as ChatRequest;
const USED = { input_tokens: 1 };

/** A client that answers with these codes, then with a row. */
function answering(codes: string[], row: Record<string, unknown> = {}) {
  const asked: { name: string; sent: Record<string, unknown> }[] = [];
  const rpc = (name: string, sent: Record<string, unknown>) => {
    asked.push({ name, sent });
    const code = codes.shift();
    const answer = code === undefined
      ? { data: row, error: null }
      : { data: null, error: { code, message: "refused", details: "{}" } };
    return Object.assign(Promise.resolve(answer), { select: () => Promise.resolve(answer) });
  };
  return { client: { rpc, schema: () => ({ rpc }) } as unknown as Client, asked };
}

/** What is written to the log meanwhile. */
async function logged(work: () => Promise<unknown>): Promise<string> {
  const { error } = console;
  const lines: string[] = [];
  console.error = (...parts) => lines.push(parts.join(" "));
  try {
    await work();
  } finally {
    console.error = error;
  }
  return lines.join("\n");
}

Deno.test("a lost race or connection is tried again, with the same words", async () => {
  const { client, asked } = answering(["40001", "", "40P01"], { cost: "0.005" });
  strictEqual(await settle(client, HOLD, USED), "0.005");
  strictEqual(asked.length, 4);
  ok(asked.every(({ sent }) => JSON.stringify(sent) === JSON.stringify(asked[0]!.sent)));
});

Deno.test("what cannot be settled is written down for an operator", async () => {
  const { client } = answering(["XX000"]);
  const text = await logged(async () => strictEqual(await settle(client, HOLD, USED), null));
  ok(text.includes('{"hold_id":"hold","usage":{"input_tokens":1},"failure":"XX000"}'));
});

/** A client that knows these prices. */
const pricing = (prices: Record<string, string>) => {
  const rpc = (_: string, { p_model }: { p_model: string }) =>
    Promise.resolve(
      p_model in prices
        ? { data: { cost: prices[p_model] }, error: null }
        : { data: null, error: { code: "TS404", message: "unknown", details: "{}" } },
    );
  return { schema: () => ({ rpc }) } as unknown as Client;
};
const PRICES: [string, string | undefined, string | null][] = [
  ["0.5", "0.500000000001", "0.500000000001"],
  ["9.99", "10", "10"],
  ["0.5", "0.5", null],
  ["2", "0.000000000001", null],
  ["0.5", undefined, null],
];
for (const [m, other, cost] of PRICES) {
  Deno.test(`one that costs ${other} for one of ${m} is charged ${cost ?? "as asked"}`, async () => {
    const client = pricing({ m, ...(other === undefined ? {} : { other }) });
    const text = await logged(async () =>
      strictEqual(await costOfOther(client, HOLD, USED, "other", CHAT, null), cost)
    );
    ok(text.includes("another model answered") && text.includes('"served":"other"'), text);
  });
}

Deno.test("a cost is stated where there is one, as text", async () => {
  const { client, asked } = answering([], { cost: "0.005" });
  await settle(client, HOLD, USED);
  await settle(client, HOLD, USED, "0.005");
  deepStrictEqual(asked.map(({ sent }) => sent.p_cost), [undefined, "0.005"]);
});

Deno.test("a hold that cannot be released frees itself", async () => {
  const { client, asked } = answering(["XX000"]);
  ok((await logged(() => release(client, HOLD, "r".repeat(300)))).includes("hold"));
  strictEqual((asked[0]!.sent.p_reason as string).length, 255);
});

Deno.test("two attempts never claim a hold in the same words", async () => {
  const { client, asked } = answering([]);
  await claim(client, HOLD);
  await claim(client, HOLD);
  strictEqual(asked[0]!.sent.p_request_id, asked[1]!.sent.p_request_id);
  ok(asked[0]!.sent.p_expires_in !== asked[1]!.sent.p_expires_in);
});

Deno.test("a hold outlives the longest call", async () => {
  const { client, asked } = answering([]);
  await claim(client, HOLD);
  const seconds = Number.parseFloat(asked[0]!.sent.p_expires_in as string);
  ok(seconds * 1000 >= settings().callMs + 60_000);
});

Deno.test("a claim that comes second is worth another try, any other failure is what it is", async () => {
  await rejects(claim(answering(["TS409"]).client, HOLD), {
    status: 409,
    code: "request_in_progress",
  });
  await rejects(claim(answering(["TS410"]).client, HOLD), { status: 409, code: "hold_closed" });
});

Deno.test("what is not stated is left to the database's defaults", async () => {
  const { client, asked } = answering([], {
    decision: "granted",
    hold_id: "hold",
    held_usd: "0.008",
  });
  deepStrictEqual(await authorize(client, "acme", CHAT, null), HOLD);
  ok(!("p_provider" in asked[0]!.sent) && !("p_workflow_id" in asked[0]!.sent));
});
