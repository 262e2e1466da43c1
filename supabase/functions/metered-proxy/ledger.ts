/** The life of one call in the ledger: authorized, claimed, then settled or released. */

import type { PostgrestSingleResponse } from "@supabase/supabase-js";
import type { Client } from "./callers.ts";
import { denial, misuse } from "./denials.ts";
import { Refusal } from "./refusals.ts";
import type { ChatRequest } from "./requests.ts";
import type { Usage } from "./usage.ts";

const ATTEMPTS = 6;
const FIRST_PAUSE_MS = 50; // doubled each time, then a random part of it
const TRANSIENT = /^(40001|40P01|55P03|53...|57P0.|08...|PGRST00.|)$/;
const HOLD_SECONDS = 600;
const LONGEST_REASON = 255;

export interface Hold {
  id: string;
  organizationId: string;
  heldUsd: string;
}

/**
 * Holds what a call may cost, as the user.
 *
 * @throws Refusal 402, 403, 404, 409, 429: it is not granted.
 */
export async function authorize(
  caller: Client,
  organizationId: string,
  request: ChatRequest,
  providerName: string | null,
): Promise<Hold> {
  const decision = await retried(() =>
    caller.rpc("authorize_spend", {
      p_organization_id: organizationId,
      p_model: request.model,
      p_input_tokens: request.inputTokens,
      p_max_output_tokens: request.maxOutputTokens,
      p_tags: request.tags,
      p_request_id: request.requestId,
      ...stated({
        p_workflow_id: request.workflowId,
        p_run_id: request.runId,
        p_venture_id: request.ventureId,
        p_provider: providerName,
        p_service_tier: request.serviceTier,
      }),
    })
  );
  if (decision.decision !== "granted" || !decision.hold_id || !decision.held_usd) {
    throw denial(decision, request);
  }
  return { id: decision.hold_id, organizationId, heldUsd: decision.held_usd };
}

/**
 * Claims a hold for this attempt. A retry that comes while the first attempt is under way is granted
 * the same hold: without a claim it would call the provider twice and pay once.
 *
 * The first to extend the hold under this name has it; another states another duration, which is
 * the same name with other content. What the first attempt leaves behind when it dies is over when
 * the hold is. From then on the user may not release the hold either.
 *
 * @throws Refusal 409 `request_in_progress`.
 */
export async function claim(server: Client, hold: Hold): Promise<void> {
  const seconds = HOLD_SECONDS * (1 + Math.random() / 2);
  try {
    await retried(() =>
      server.rpc("extend_hold", {
        p_hold_id: hold.id,
        p_organization_id: hold.organizationId,
        p_expires_in: `${seconds.toFixed(6)} seconds`,
        p_request_id: `claim ${hold.id}`,
      })
    );
  } catch (error) {
    if (error instanceof Refusal && error.particulars.facts?.sqlstate === "TS409") {
      throw new Refusal(
        409,
        "request_in_progress",
        "the request with this id is being answered: try again later, or use a new id",
        { headers: { "retry-after": "2" }, retry: true },
      );
    }
    throw error;
  }
}

/**
 * Settles a hold by a usage, or by a cost beside it; returns what the call cost as decimal text, or null where that failed: the answer
 * is the caller's all the same, and the line in the log is what an operator settles it by.
 */
export async function settle(
  server: Client,
  hold: Hold,
  usage: Usage,
  cost: string | null = null,
): Promise<string | null> {
  try {
    const settled = await retried(() =>
      server
        .rpc("settle_spend", {
          p_hold_id: hold.id,
          p_organization_id: hold.organizationId,
          p_usage: usage,
          ...(cost === null ? {} : { p_cost: cost }),
        })
        .select("cost::text")
    );
    return settled.cost;
  } catch (error) {
    console.error(
      "metered-proxy: a call was not settled; its hold frees itself, and can be settled for 45 days:",
      JSON.stringify({
        hold_id: hold.id,
        usage,
        ...(cost === null ? {} : { cost }),
        failure: failureOf(error),
      }),
    );
    return null;
  }
}

/**
 * What a call cost that another model answered than was asked for: that one's price, where it is the
 * dearer. Null where the pinned price holds, as it does where the other has none. Either is logged.
 */
export async function costOfOther(
  server: Client,
  hold: Hold,
  usage: Usage,
  served: string,
  request: ChatRequest,
  providerName: string | null,
): Promise<string | null> {
  const price = async (model: string) => {
    const { cost } = await retried(() =>
      server.schema("pricing").rpc("price_usage", {
        p_organization_id: hold.organizationId,
        p_model: model,
        p_usage: usage,
        ...stated({ p_provider: providerName, p_service_tier: request.serviceTier }),
      })
    );
    return cost ?? "0";
  };
  const facts = { hold_id: hold.id, asked: request.model, served };
  try {
    const [asked, other] = [await price(request.model), await price(served)];
    const isDearer = units(other) > units(asked);
    console.error("metered-proxy: another model answered:", JSON.stringify({ ...facts, isDearer }));
    return isDearer ? other : null;
  } catch (error) {
    console.error(
      "metered-proxy: another model answered, and is charged as the one that was asked for:",
      JSON.stringify({ ...facts, failure: failureOf(error) }),
    );
    return null;
  }
}

/** Decimal US dollars, in the smallest amount the ledger knows: 12 digits after the point. */
function units(usd: string): bigint {
  const [whole, part = ""] = usd.split(".");
  return BigInt(whole + part.padEnd(12, "0"));
}

function failureOf(error: unknown): unknown {
  return error instanceof Refusal ? error.particulars.facts?.sqlstate : String(error);
}

/** Gives back what a hold keeps; it frees itself where that fails. */
export async function release(server: Client, hold: Hold, reason: string): Promise<void> {
  try {
    await retried(() =>
      server.rpc("release_spend", {
        p_hold_id: hold.id,
        p_organization_id: hold.organizationId,
        p_reason: reason.slice(0, LONGEST_REASON),
      })
    );
  } catch (error) {
    console.error("metered-proxy: a hold was not released:", hold.id, String(error));
  }
}

/** Asks again where a connection was lost or a transaction lost a race: ids make it one effect. */
async function retried<Data>(
  ask: () => PromiseLike<PostgrestSingleResponse<Data>>,
): Promise<NonNullable<Data>> {
  for (let attempt = 1;; attempt++) {
    const { data, error } = await ask();
    if (!error && data) {
      return data;
    }
    const code = error?.code ?? "";
    if (attempt === ATTEMPTS || !TRANSIENT.test(code)) {
      throw misuse(code, error?.message ?? "no answer", error?.details ?? "");
    }
    const pause = FIRST_PAUSE_MS * 2 ** attempt * Math.random();
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

/** Leaves out what is null: an argument that is not stated has its default. */
function stated<Arguments extends Record<string, unknown>>(
  all: Arguments,
): { [Name in keyof Arguments]?: NonNullable<Arguments[Name]> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null)) as {
    [Name in keyof Arguments]?: NonNullable<Arguments[Name]>;
  };
}
