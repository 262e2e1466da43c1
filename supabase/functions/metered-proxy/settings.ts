/** What the environment says: where Supabase and the provider are, and the keys to both. */

import { Refusal } from "./refusals.ts";

export interface Settings {
  supabaseUrl: string;
  publishableKey: string;
  secretKey: string;
  /** Up to and without `/chat/completions`. */
  providerUrl: string;
  providerKey: string;
  /** Whose prices count, where several list the model; null for any. */
  providerName: string | null;
  /** How long an answer may be where the caller does not say. */
  maxOutputTokens: number;
  /** The field in which the provider is told so. */
  outputLimitField: string;
  /** Fields of a request that are passed on beside those of OpenAI. */
  extraFields: Set<string>;
  /** How long a call may take, from the first word asked to the last one taken by the caller. */
  callMs: number;
  /** How long the provider may take to begin an answer, or to give a whole one. */
  timeoutMs: number;
  /** How long a stream may be silent. */
  idleMs: number;
}

/** A minute less than a hold is claimed for: what is paid must not be free again before its end. */
const LONGEST_CALL_SECONDS = 540;

type Environment = (name: string) => string | undefined;

/**
 * Reads the settings. Supabase sets its own; the provider's are secrets of the project.
 *
 * @throws Refusal 503 `not_configured`, which names what is missing or wrong.
 */
export function readSettings(env: Environment): Settings {
  const need = (name: string, value: string | undefined) => {
    if (!value) {
      throw notConfigured(`${name} is not set`);
    }
    return value;
  };
  const number = (name: string, standard: number, most = Infinity) => {
    const value = Number(env(name) || standard);
    if (!(value > 0 && value <= most)) {
      throw notConfigured(
        `${name} must be a number above 0${most < Infinity ? ` and at most ${most}` : ""}`,
      );
    }
    return value;
  };
  return {
    supabaseUrl: need("SUPABASE_URL", env("SUPABASE_URL")),
    publishableKey: need(
      "SUPABASE_PUBLISHABLE_KEYS",
      firstKey(env, "SUPABASE_PUBLISHABLE_KEYS") ?? env("SUPABASE_ANON_KEY"),
    ),
    secretKey: need(
      "SUPABASE_SECRET_KEYS",
      firstKey(env, "SUPABASE_SECRET_KEYS") ?? env("SUPABASE_SERVICE_ROLE_KEY"),
    ),
    providerUrl: need("PROVIDER_BASE_URL", env("PROVIDER_BASE_URL")).replace(/\/+$/, ""),
    providerKey: need("PROVIDER_API_KEY", env("PROVIDER_API_KEY")),
    providerName: env("PROVIDER_NAME") || null,
    maxOutputTokens: Math.floor(number("PROVIDER_MAX_OUTPUT_TOKENS", 4096)),
    outputLimitField: env("PROVIDER_OUTPUT_LIMIT_FIELD") || "max_completion_tokens",
    extraFields: new Set(
      (env("PROVIDER_EXTRA_FIELDS") ?? "").split(",").map((name) => name.trim()).filter(Boolean),
    ),
    callMs: 1000 * number("PROVIDER_CALL_SECONDS", LONGEST_CALL_SECONDS, LONGEST_CALL_SECONDS),
    timeoutMs: 1000 * number("PROVIDER_TIMEOUT_SECONDS", 120, LONGEST_CALL_SECONDS),
    idleMs: 1000 * number("PROVIDER_IDLE_SECONDS", 60, LONGEST_CALL_SECONDS),
  };
}

/** The default one of a dictionary of keys, `{"default": "sb_secret_..."}`, or its first. */
function firstKey(env: Environment, name: string): string | undefined {
  const text = env(name);
  if (!text) {
    return undefined;
  }
  try {
    const keys = JSON.parse(text);
    return keys.default ?? Object.values(keys)[0];
  } catch {
    throw notConfigured(`${name} must be a JSON object of keys`);
  }
}

function notConfigured(what: string): Refusal {
  return new Refusal(503, "not_configured", `the proxy is not configured: ${what}`, {
    retry: false,
  });
}
