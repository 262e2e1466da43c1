/** What the page reads: every amount as text, so that no decimal is lost. */

import type { SupabaseClient } from "@supabase/supabase-js";
import type { Database } from "../../functions/_shared/database.ts";

export type Client = SupabaseClient<Database>;

const LEDGER_ROWS = 50;
const PAGE_ROWS = 1000; // what Supabase answers at most, unless a project says otherwise

const COUNTED = { count: "exact" } as const;

interface Answer<Row> {
  data: Row[] | null;
  count: number | null;
  error: { message: string } | null;
}

interface Listing<Row> {
  range(from: number, to: number): PromiseLike<Answer<Row>>;
}

/**
 * Reads a listing that counts its rows, page by page until all are there, so that no sum is made of
 * a part of them. Its order has to be that of a key.
 */
export async function rows<Row>(listing: Listing<Row>): Promise<Row[]> {
  const found: Row[] = [];
  while (true) {
    const { data, count } = await answered(
      listing.range(found.length, found.length + PAGE_ROWS - 1),
    );
    found.push(...data);
    if (data.length === 0 || found.length >= count!) {
      return found;
    }
  }
}

async function answered<Row>(answer: PromiseLike<Answer<Row>>) {
  const { data, count, error } = await answer;
  if (error || data === null) {
    throw new Error(error?.message ?? "no answer");
  }
  return { data, count };
}

export type Organization = Awaited<ReturnType<typeof readOrganizations>>[number];
export type Overview = Awaited<ReturnType<typeof readOverview>>;

/** The organizations of whoever is signed in; row-level security leaves out the others. */
export function readOrganizations(supabase: Client) {
  const columns = "id, name, time_zone, frozen_at";
  const organizations = supabase.schema("tenancy").from("organizations");
  return rows(organizations.select(columns, COUNTED).order("name").order("id"));
}

/** Spend since a day, budgets, open holds, and the last rows of the ledger. */
export async function readOverview(supabase: Client, organizationId: string, since: string) {
  const metering = supabase.schema("metering");
  const [spend, budgets, holds, { data: usages }] = await Promise.all([
    rows(
      metering.from("spend_by_model")
        .select("day, model, requests, prompt_tokens, completion_tokens, cost::text", COUNTED)
        .eq("organization_id", organizationId).gte("day", since).order("day").order("model"),
    ),
    rows(
      metering.from("budget_status")
        .select(
          `budget_id, scope, scope_id, time_window, enforcement, frozen_at, resets_at,
          limit_usd::text, settled_usd::text, held_usd::text, remaining_usd::text`,
          COUNTED,
        )
        .eq("organization_id", organizationId)
        .or(`limit_usd.not.is.null,budget_id.eq.${organizationId}`)
        .order("scope").order("scope_id").order("time_window").order("budget_id"),
    ),
    rows(
      metering.from("holds").select("id, model, created_at, expires_at, held_usd::text", COUNTED)
        .eq("organization_id", organizationId).eq("state", "open").order("id"),
    ),
    answered(
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
