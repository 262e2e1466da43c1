/**
 * Money as the ledger keeps it, to the twelfth decimal. A number of JavaScript has no room for that,
 * so an amount is a whole number of units of 10^-12 dollars.
 */

export type Usd = bigint;

const DECIMALS = 12;
const UNIT = 10n ** BigInt(DECIMALS);

/** Reads decimal text, as PostgREST gives it for `cost::text`. */
export function usd(text: string): Usd {
  const found = /^(-?)(\d+)(?:\.(\d{1,12}))?$/.exec(text);
  if (!found) {
    throw new RangeError(`not an amount: ${text}`);
  }
  const [, sign, whole, fraction = ""] = found;
  const units = BigInt(whole!) * UNIT + BigInt(fraction.padEnd(DECIMALS, "0"));
  return sign ? -units : units;
}

export function sum(amounts: Iterable<Usd>): Usd {
  let total = 0n;
  for (const amount of amounts) {
    total += amount;
  }
  return total;
}

/** Writes every decimal there is, at least cents: $1,234.50, -$0.00475. */
export function dollars(amount: Usd): string {
  const size = amount < 0n ? -amount : amount;
  const whole = (size / UNIT).toString().replace(/\B(?=(\d{3})+$)/g, ",");
  const fraction = (size % UNIT).toString().padStart(DECIMALS, "0").replace(/0+$/, "");
  return `${amount < 0n ? "-" : ""}$${whole}.${fraction.padEnd(2, "0")}`;
}

/** How long a part of a whole is drawn, 0 to 1. Lengths need no twelve decimals. */
export function share(part: Usd, whole: Usd): number {
  return whole <= 0n ? 0 : Math.min(1, Math.max(0, Number(part) / Number(whole)));
}
