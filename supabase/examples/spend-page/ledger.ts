/** What the page reads: every amount as text, so that no decimal is lost. */

import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "../../functions/_shared/database.ts";

export type Client = SupabaseClient<Database>;

const LEDGER_ROWS = 50;

interface Answer<Data> {
  data: Data | null;
  error: { message: string } | null;
}

async function rows<Data>(answer: PromiseLike<Answer<Data>>): Promise<Data> {
  const { data, error } = await answer;
  if (error || data === null) {
    throw new Error(error?.message ?? "no answer");
  }
  return data;
}

export type Organization = Awaited<ReturnType<typeof readOrganizations>>[number];
export type Overview = Awaited<ReturnType<typeof readOverview>>;

/** The organizations of whoever is signed in; row-level security leaves out the others. */
export function readOrganizations(supabase: Client) {
  const columns = "id, name, time_zone, frozen_at";
  return rows(supabase.schema("tenancy").from("organizations").select(columns).order("name"));
}

/** Spend since a day, budgets, open holds, and the last rows of the ledger. */
export async function readOverview(supabase: Client, organizationId: string, since: string) {
  const metering = supabase.schema("metering");
  const [spend, budgets, holds, usages] = await Promise.all([
    rows(
      metering.from("spend_by_model")
        .select("day, model, requests, prompt_tokens, completion_tokens, cost::text")
        .eq("organization_id", organizationId).gte("day", since).order("day").order("model"),
    ),
    rows(
      metering.from("budget_status")
        .select(
          `budget_id, scope, scope_id, time_window, enforcement, frozen_at, resets_at,
          limit_usd::text, settled_usd::text, held_usd::text, remaining_usd::text`,
        )
        .eq("organization_id", organizationId)
        .or(`limit_usd.not.is.null,budget_id.eq.${organizationId}`)
        .order("scope").order("scope_id").order("time_window"),
    ),
    rows(
      metering.from("holds").select("id, model, created_at, expires_at, held_usd::text")
        .eq("organization_id", organizationId).eq("state", "open").order("id"),
    ),
    rows(
      supabase.from("ai_usage_ledger")
        .select(
          `id, model, prompt_tokens, completion_tokens, cost_basis, settlement, settled_at,
          cost::text`,
        )
        .eq("organization_id", organizationId).order("id", { ascending: false }).limit(LEDGER_ROWS),
    ),
  ]);
  return { spend, budgets, holds, usages };
}
