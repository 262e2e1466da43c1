/** Settings for tests of single modules. */

import { readSettings, type Settings } from "../../../supabase/functions/metered-proxy/settings.ts";

export const ENVIRONMENT: Record<string, string> = {
  SUPABASE_URL: "http://127.0.0.1:9",
  SUPABASE_PUBLISHABLE_KEYS: '{"default": "sb_publishable_x"}',
  SUPABASE_SECRET_KEYS: '{"default": "sb_secret_x"}',
  PROVIDER_BASE_URL: "http://127.0.0.1:9/v1/",
  PROVIDER_API_KEY: "sk-provider-secret",
};

export function settings(changes: Record<string, string | undefined> = {}): Settings {
  return readSettings((name) => ({ ...ENVIRONMENT, ...changes })[name]);
}
