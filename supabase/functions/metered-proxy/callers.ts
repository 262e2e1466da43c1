/** Who calls, and for which organization. */

import {
  createClient,
  isAuthRetryableFetchError,
  type SupabaseClient,
} from "@supabase/supabase-js";
import type { Database } from "../_shared/database.ts";
import { Refusal } from "./refusals.ts";
import type { Settings } from "./settings.ts";

export type Client = SupabaseClient<Database>;

const STATELESS = { persistSession: false, autoRefreshToken: false, detectSessionInUrl: false };

/** A client that acts as the user who made the request, so that row-level security holds. */
export async function callerClient(request: Request, settings: Settings): Promise<Client> {
  const token = /^bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (!token) {
    throw unauthorized("a user's access token is needed as the API key");
  }
  const client: Client = createClient(settings.supabaseUrl, settings.publishableKey, {
    auth: STATELESS,
    global: { headers: { Authorization: `Bearer ${token}` } },
  });
  // By the project's public keys; where it still signs with a shared secret, by asking Auth.
  const { data, error } = await client.auth.getClaims(token).catch((error) => ({
    data: null,
    error,
  }));
  if (isAuthRetryableFetchError(error) || error?.status >= 500) {
    console.error("metered-proxy: Auth does not answer:", error.message);
    throw new Refusal(503, "auth_unavailable", "the caller cannot be authenticated at present");
  }
  // API keys of old are tokens too, and no users.
  if (error || !data || !data.claims.sub || data.claims.role !== "authenticated") {
    throw unauthorized("the access token is not valid, or has expired");
  }
  return client;
}

/** A client with the secret key: it states what a call cost, which no user may. */
export function serverClient(settings: Settings): Client {
  return createClient(settings.supabaseUrl, settings.secretKey, { auth: STATELESS });
}

/**
 * The organization that pays: the stated one, or the only one the caller belongs to.
 *
 * Whether the caller may spend for it is decided by authorize_spend.
 */
export async function payingOrganization(caller: Client, stated: string | null): Promise<string> {
  if (stated) {
    return stated;
  }
  const { data, error } = await caller.schema("tenancy").from("organizations").select("id").limit(
    2,
  );
  if (error) {
    console.error("metered-proxy: organizations cannot be read:", error.code, error.message);
    throw new Refusal(503, "database_unavailable", "the ledger cannot be reached at present");
  }
  const [organization, another] = data;
  if (!organization) {
    throw new Refusal(403, "permission_denied", "the caller belongs to no organization");
  }
  if (another) {
    throw new Refusal(
      400,
      "organization_required",
      "the caller belongs to several organizations: name one in the header OpenAI-Organization",
      { param: "openai-organization" },
    );
  }
  return organization.id;
}

function unauthorized(message: string): Refusal {
  return new Refusal(401, "invalid_api_key", message);
}
