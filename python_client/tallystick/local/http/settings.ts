/** The settings of one request's transaction, all made in one statement. */

import type { Claims } from "./keys.ts";

export type Setting = [name: string, value: string];

/** Who asks what, as functions and policies can read it. */
export function requestSettings(
  request: Pick<Request, "method" | "url" | "headers">,
  claims: Claims,
  searchPath: string,
): Setting[] {
  return [
    ["search_path", searchPath],
    ["role", claims.role],
    ["request.jwt.claims", JSON.stringify(claims)],
    ["request.method", request.method],
    ["request.path", new URL(request.url).pathname.replace(/^\/rest\/v1/, "")],
    ["request.headers", JSON.stringify(Object.fromEntries(request.headers))],
    ["request.cookies", JSON.stringify(cookies(request.headers.get("cookie")))],
    ["response.status", ""],
    ["response.headers", ""],
  ];
}

function cookies(header: string | null): Record<string, string> {
  const pairs = (header ?? "").split(";").map((pair) => pair.trim()).filter(Boolean);
  return Object.fromEntries(pairs.map((pair) => {
    const [name, ...value] = pair.split("=");
    return [name, value.join("=")];
  }));
}

/** The statement that makes them, for this transaction only, and its values. */
export function settingsSql(settings: Setting[]): [text: string, values: string[]] {
  const calls = settings.map((_, place) =>
    `pg_catalog.set_config($${2 * place + 1}::text, $${2 * place + 2}::text, true)`
  );
  return [`select ${calls.join(", ")}`, settings.flat()];
}
