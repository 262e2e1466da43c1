/** Who is asking: API keys and JWTs, as Supabase's gateway and PostgREST check them. */

import { errors as jose, type JWTPayload, jwtVerify } from "jose";
import type { Config } from "./config.ts";
import { ApiError } from "./errors.ts";

/** The claims of a request; `role` is the database role it acts as. */
export interface Claims extends JWTPayload {
  role: string;
}

/** An answer of Supabase's gateway, which stands before PostgREST and has a form of its own. */
class KeyError extends ApiError {
  constructor(readonly reason: string, message: string, hint: string | null = null) {
    super(401, reason, message, null, hint);
  }

  override response(): Response {
    const { message, hint } = this;
    return new Response(JSON.stringify(hint === null ? { message } : { message, hint }), {
      status: this.status,
      headers: { "content-type": "application/json", "sb-error-code": this.reason },
    });
  }
}

export class Keys {
  readonly #secret: Uint8Array;
  readonly #roles: Map<string, string>;

  constructor(config: Pick<Config, "publishableKey" | "secretKey" | "jwtSecret">) {
    this.#secret = new TextEncoder().encode(config.jwtSecret);
    this.#roles = new Map([[config.publishableKey, "anon"], [config.secretKey, "service_role"]]);
  }

  /**
   * Returns the claims a request acts with.
   *
   * @throws {ApiError} 401: no key, a wrong one, or a token that is forged or has expired.
   */
  async claims(request: Request): Promise<Claims> {
    const key = request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
    if (!key) {
      throw new KeyError(
        "UNAUTHORIZED_MISSING_API_KEY",
        "No API key found in request",
        "No `apikey` request header or url param was found.",
      );
    }
    const ofKey = await this.ofKey(key);
    if (ofKey === null) {
      throw new KeyError(
        "UNAUTHORIZED_INVALID_API_KEY",
        "Invalid API key",
        "Double check your Supabase `apikey`",
      );
    }
    const isSecret = this.#roles.get(key) === "service_role";
    if (isSecret && /^\s*Mozilla\//i.test(request.headers.get("user-agent") ?? "")) {
      throw new KeyError(
        "UNAUTHORIZED_INVALID_API_KEY_TYPE",
        "Forbidden use of secret API key in browser",
      );
    }
    const token = /^bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1].trim();
    return token === undefined || token === key || token.startsWith("sb_")
      ? ofKey
      : await this.#verify(token);
  }

  /** Returns the claims of an API key, new or legacy (a JWT), or null where it is none. */
  async ofKey(key: string): Promise<Claims | null> {
    const role = this.#roles.get(key);
    if (role !== undefined) return { role };
    if (key.split(".").length !== 3) return null;
    return await this.#verify(key);
  }

  async #verify(token: string): Promise<Claims> {
    try {
      const { payload } = await jwtVerify(token, this.#secret, { algorithms: ["HS256"] });
      return { ...payload, role: typeof payload.role === "string" ? payload.role : "anon" };
    } catch (error) {
      if (error instanceof jose.JWTExpired) throw refusedToken("PGRST303", "JWT expired");
      if (error instanceof jose.JWTClaimValidationFailed) {
        throw refusedToken("PGRST303", error.message);
      }
      throw refusedToken("PGRST301", error instanceof Error ? error.message : "invalid JWT");
    }
  }
}

function refusedToken(code: string, message: string): ApiError {
  const challenge = `Bearer error="invalid_token", error_description="${message}"`;
  return new ApiError(401, code, message, null, null, {
    "www-authenticate": challenge.replace(/[^\x20-\x7e]/g, ""),
  });
}
