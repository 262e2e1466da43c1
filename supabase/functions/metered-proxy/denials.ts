/** What the ledger refuses, as HTTP says it. */

import type { Database } from "../_shared/database.ts";
import { type Facts, type Particulars, Refusal } from "./refusals.ts";
import type { ChatRequest } from "./requests.ts";

export type Decision = Database["metering"]["CompositeTypes"]["spend_decision"];

/** OpenAI's clients wait as long as `retry-after` says, up to a minute or two, and give up above. */
const LONGEST_WAIT_SECONDS = 60;

/** A decision that is no grant. */
export function denial(decision: Decision, request: ChatRequest): Refusal {
  const facts: Facts = {
    request_id: request.requestId,
    reason: decision.reason,
    budget_id: decision.budget_id,
    remaining_usd: decision.remaining_usd,
    resets_at: decision.resets_at,
    affordable_output_tokens: decision.affordable_output_tokens,
  };
  if (decision.decision === "settled") {
    return new Refusal(409, "request_settled", "the request with this id was answered and paid", {
      facts: { request_id: request.requestId, usage_id: decision.usage_id },
      retry: false,
    });
  }
  if (decision.decision === "needs_approval") {
    return new Refusal(402, "approval_needed", "the call needs an approval", {
      type: "insufficient_quota",
      facts: { ...facts, proposal_id: decision.proposal_id },
      retry: false,
    });
  }
  switch (decision.reason) {
    case "unpriced_model":
      return new Refusal(
        404,
        "model_not_found",
        `there is no price for the model ${JSON.stringify(request.model)}`,
        { param: "model", facts, retry: false },
      );
    case "stale_price":
      return new Refusal(503, "stale_price", "the price of the model is too old to spend by", {
        param: "model",
        facts,
        retry: false,
      });
    case "model_not_in_run":
      return new Refusal(403, "model_not_in_run", "the run may not call this model", {
        param: "model",
        facts,
      });
    case "frozen":
      return new Refusal(403, "frozen", "spending is frozen", { facts });
    case "budget_exceeded":
      return exceeded(decision, facts);
    default: // run_ended, and what approvals refuse
      return new Refusal(402, decision.reason ?? "denied", `not granted: ${decision.reason}`, {
        type: "insufficient_quota",
        facts,
      });
  }
}

/** 429 where waiting helps, 402 where only money does. */
function exceeded(decision: Decision, facts: Facts): Refusal {
  const remaining = { "x-tallystick-remaining-usd": decision.remaining_usd ?? "0" };
  if (!decision.resets_at) {
    return new Refusal(402, "budget_exceeded", "a budget does not cover the call", {
      type: "insufficient_quota",
      facts,
      headers: remaining,
      retry: false,
    });
  }
  const wait = Math.max(1, Math.ceil((Date.parse(decision.resets_at) - Date.now()) / 1000));
  return new Refusal(429, "budget_exceeded", "a budget does not cover the call until it resets", {
    type: "insufficient_quota",
    facts,
    headers: {
      ...remaining,
      "x-tallystick-resets-at": decision.resets_at,
      "retry-after": String(wait),
    },
    retry: wait <= LONGEST_WAIT_SECONDS,
  });
}

const STATUSES: Record<string, [number, string, Particulars?]> = {
  TS402: [402, "budget_exceeded", { type: "insufficient_quota", retry: false }],
  TS404: [404, "unknown_id"],
  TS409: [409, "request_conflict", { retry: false }],
  TS410: [409, "hold_closed", { retry: false }],
  TS423: [403, "frozen"],
  TS428: [402, "approval_needed", { type: "insufficient_quota", retry: false }],
  TS429: [429, "velocity_exceeded", { type: "rate_limit_error", retry: false }],
  "22023": [400, "invalid_value"],
  "22P02": [400, "invalid_value"], // half a letter
  "22P05": [400, "invalid_value"], // a letter of nothing, which no text of the database holds
  "42501": [403, "permission_denied"],
  PGRST301: [401, "invalid_api_key"],
  PGRST303: [401, "invalid_api_key"],
};

/**
 * An error the database raised. Its message is a stable sentence without values; DETAIL is a JSON
 * object of facts about the caller's own arguments. What is not meant for callers goes to the log.
 */
export function misuse(sqlstate: string, message: string, details: string): Refusal {
  const [status, code, particulars] = STATUSES[sqlstate] ?? [503, "database_unavailable"];
  if (status === 503) {
    console.error("metered-proxy: the database refuses:", sqlstate, message);
    return new Refusal(503, code, "the ledger cannot be reached at present", {
      facts: { sqlstate },
    });
  }
  const facts = scalars(details);
  return new Refusal(status, code, message, {
    ...particulars,
    ...(facts.argument ? { param: String(facts.argument).replaceAll("p_", "") } : {}),
    facts: { ...facts, sqlstate },
  });
}

function scalars(details: string): Facts {
  try {
    const facts = Object.entries(JSON.parse(details) as Record<string, unknown>);
    return Object.fromEntries(
      facts.filter(([, value]) => ["string", "number"].includes(typeof value)),
    ) as Facts;
  } catch {
    return {};
  }
}
