/** The `Prefer` header (RFC 7240) as PostgREST reads it. */

import { ApiError } from "./errors.ts";

export interface Preferences {
  /** Whether all rows are to be counted, not only those that are returned. */
  countAll: boolean;
  /** At most so many rows; only together with strict handling. */
  maxAffected: number | null;
  timeZone: string | null;
  /** What is answered as `Preference-Applied`, or null. */
  applied: string | null;
}

const KNOWN = new Set([
  ...["merge-duplicates", "ignore-duplicates"].map((value) => `resolution=${value}`),
  ...["representation", "minimal", "headers-only"].map((value) => `return=${value}`),
  ...["exact", "planned", "estimated"].map((value) => `count=${value}`),
  ...["commit", "rollback"].map((value) => `tx=${value}`),
  ...["default", "null"].map((value) => `missing=${value}`),
  ...["strict", "lenient"].map((value) => `handling=${value}`),
]);

/** The order in which applied preferences are listed. `tx` is not allowed here, so never applied. */
const APPLIED = ["resolution", "missing", "return", "count", "handling"];

/**
 * Reads the header; of a preference given twice the first counts.
 *
 * @throws {ApiError} PGRST122: one is unknown, and handling is strict.
 */
export function readPreferences(
  header: string | null,
  timeZones: ReadonlySet<string>,
): Preferences {
  const given = (header ?? "").split(",").map((part) => part.trim()).filter(Boolean);
  const first = (name: string) => {
    const found = given.find((part) => part.startsWith(`${name}=`));
    return found === undefined ? null : found.slice(name.length + 1);
  };
  const known = (part: string) =>
    KNOWN.has(part) || /^max-affected=\d+$/.test(part) ||
    (part.startsWith("timezone=") && timeZones.has(part.slice("timezone=".length)));
  const isStrict = given.find((part) => /^handling=(strict|lenient)$/.test(part)) ===
    "handling=strict";
  const unknown = given.filter((part) => !known(part));
  if (isStrict && unknown.length > 0) {
    throw new ApiError(
      400,
      "PGRST122",
      "Invalid preferences given with handling=strict",
      `Invalid preferences: ${unknown.join(", ")}`,
    );
  }
  const zone = first("timezone");
  const timeZone = zone !== null && timeZones.has(zone) ? zone : null;
  const affected = first("max-affected");
  const maxAffected = isStrict && affected !== null ? Number(affected) : null;
  const applied = [
    ...APPLIED.map((name) => given.find((part) => part.startsWith(`${name}=`) && KNOWN.has(part))),
    timeZone === null ? undefined : `timezone=${timeZone}`,
    maxAffected === null ? undefined : `max-affected=${maxAffected}`,
  ].filter((part) => part !== undefined);
  return {
    countAll: ["exact", "planned", "estimated"].includes(first("count") ?? ""),
    maxAffected,
    timeZone,
    applied: applied.length > 0 ? applied.join(", ") : null,
  };
}
