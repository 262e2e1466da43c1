/**
 * What two people and a server do with supabase-js, typed by the generated types. Prints what came
 * of each step as JSON; test_supabase_js.py says what must.
 */

import {
  createClient,
  type PostgrestSingleResponse,
  type SupabaseClient,
} from "@supabase/supabase-js";
import type { Database } from "../../supabase/functions/_shared/database.ts";

const { url, publishableKey, secretKey, model } = JSON.parse(
  await new Response(Deno.stdin.readable).text(),
);
const STATELESS = { auth: { persistSession: false, autoRefreshToken: false } };
const server = createClient<Database>(url, secretKey, STATELESS);
const result: Record<string, unknown> = {};

/** What was answered; an error is a failure here. */
async function done<Data>(
  answer: PromiseLike<PostgrestSingleResponse<Data>>,
): Promise<NonNullable<Data>> {
  const { data, error } = await answer;
  if (error || !data) {
    throw new Error(`${error?.code}: ${error?.message}`);
  }
  return data;
}

/** The code of a refusal; anything else is a failure here. */
async function refused(
  answer: PromiseLike<PostgrestSingleResponse<unknown>>,
): Promise<string | undefined> {
  const { error } = await answer;
  if (!error) {
    throw new Error("it was not refused");
  }
  return error.code;
}

async function signUp(): Promise<SupabaseClient<Database>> {
  const client = createClient<Database>(url, publishableKey, STATELESS);
  const { error } = await client.auth.signUp({
    email: `${crypto.randomUUID()}@example.org`,
    password: crypto.randomUUID(),
  });
  if (error) {
    throw error;
  }
  return client;
}

const [acme, rival] = [await signUp(), await signUp()];
const [{ id: p_organization_id }, { id: rivalId }] = [
  await done(acme.schema("tenancy").rpc("create_organization", { p_name: "Acme" })),
  await done(rival.schema("tenancy").rpc("create_organization", { p_name: "Rival" })),
];
const { id: p_workflow_id } = await done(
  acme.rpc("upsert_intent_workflow", {
    p_id: crypto.randomUUID(),
    p_organization_id,
    p_workflow_data: {},
  }),
);

const budget = await done(
  acme.schema("metering").rpc("set_budget", {
    p_organization_id,
    p_scope: "organization",
    p_scope_id: "",
    p_window: "total",
    p_limit: "0.01",
  }).select("limit_usd::text"),
);
result.limit = budget.limit_usd;

// Hold, settle.
const call = { p_organization_id, p_model: model, p_input_tokens: 1200, p_max_output_tokens: 500 };
const granted = await done(acme.rpc("authorize_spend", { ...call, p_request_id: "once" }));
const again = await done(acme.rpc("authorize_spend", { ...call, p_request_id: "once" }));
result.authorized = [granted.decision, granted.held_usd, again.hold_id === granted.hold_id];
const used = {
  p_hold_id: granted.hold_id!,
  p_usage: { input_tokens: 200, cache_read_tokens: 1000, output_tokens: 300 },
};
result.settledAsUser = await refused(acme.rpc("settle_spend", used));
result.recordedAsUser = await refused(
  acme.rpc("record_usage_and_increment", {
    p_organization_id,
    p_workflow_id: p_workflow_id!,
    p_model: model,
    p_prompt_tokens: 1,
    p_completion_tokens: 1,
    p_cost: "0",
  }),
);
const columns = "cost::text, cost_basis, settlement";
const usage = await done(server.rpc("settle_spend", used).select(columns));
result.settled = [usage.cost, usage.cost_basis, usage.settlement];
const repeated = await done(server.rpc("settle_spend", used).select(columns));
result.settledAgain = [repeated.cost, repeated.cost_basis, repeated.settlement];

// Read one's own, and nobody else's.
const readSpend = (client: SupabaseClient<Database>) =>
  done(
    client.schema("metering").from("spend_by_model").select("model, requests, cost::text")
      .eq("organization_id", p_organization_id),
  );
result.spend = (await readSpend(acme)).map((row) => [row.model, row.requests, row.cost]);
result.spendOfOthers = await readSpend(rival);
result.authorizedForOthers = await refused(
  acme.rpc("authorize_spend", { ...call, p_organization_id: rivalId }),
);

// At the cap.
const denied = await done(acme.rpc("authorize_spend", call));
result.denied = [
  denied.decision,
  denied.reason,
  denied.remaining_usd,
  denied.affordable_output_tokens,
];

// Paid in advance, disputed.
const billing = server.schema("billing");
await done(billing.rpc("purchase_credits", {
  p_org_id: p_organization_id,
  p_amount_usd: "10",
  p_idempotency_key: "payment",
}));
const { id: p_run_id } = await done(billing.rpc("start_run", {
  p_org_id: p_organization_id,
  p_input_tokens: 400_000,
  p_output_tokens: 100_000,
  p_input_cost_usd: "1",
  p_output_cost_usd: "1",
}));
await done(billing.rpc("record_token_call", {
  p_run_id: p_run_id!,
  p_agent_id: null!,
  p_task_id: null!,
  p_step_id: null!,
  p_input_tokens: 250_000,
  p_output_tokens: 50_000,
  p_model: model,
  p_cost_usd: "1.125",
}));
const reconciled = await done(
  billing.rpc("complete_run", { p_run_id: p_run_id! })
    .select("status, refund_amount_usd::text, charge_amount_usd::text"),
);
result.reconciled = [
  reconciled.status,
  reconciled.refund_amount_usd,
  reconciled.charge_amount_usd,
];
const dispute = { p_run_id: p_run_id!, p_notes: "too much" };
result.disputedByOthers = await refused(
  rival.schema("billing").rpc("dispute_reconciliation", dispute),
);
result.disputed =
  (await done(acme.schema("billing").rpc("dispute_reconciliation", dispute))).status;
result.resolvedAsUser = await refused(
  acme.schema("billing").rpc("resolve_dispute", { p_run_id: p_run_id!, p_refund_usd: "1" }),
);
result.resolved = (
  await done(billing.rpc("resolve_dispute", { p_run_id: p_run_id!, p_refund_usd: "0.125" }))
).status;
result.disputedTooLate = await refused(
  acme.schema("billing").rpc("dispute_reconciliation", dispute),
);
const balance = await done(
  acme.schema("billing").from("credit_balances").select("balance_usd::text")
    .eq("org_id", p_organization_id).single(),
);
result.balance = balance.balance_usd;
console.log(JSON.stringify(result));
