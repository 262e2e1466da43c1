import { strictEqual, throws } from "node:assert/strict";
import { dollars, share, sum, usd } from "../../../supabase/examples/spend-page/money.ts";

Deno.test("every decimal is kept, there and back", () => {
  for (
    const [text, shown] of [
      ["0", "$0.00"],
      ["0.000000000001", "$0.000000000001"],
      ["-0.00475", "-$0.00475"],
      ["1234567.500000000000", "$1,234,567.50"],
      ["999999999999.999999999999", "$999,999,999,999.999999999999"],
    ] as const
  ) {
    strictEqual(dollars(usd(text)), shown);
  }
});

Deno.test("sums are exact where numbers are not", () => {
  strictEqual(dollars(sum(["0.1", "0.2"].map(usd))), "$0.30");
  const pennies = Array.from({ length: 1000 }, () => usd("9007199254.740993"));
  strictEqual(dollars(sum(pennies)), "$9,007,199,254,740.993");
});

Deno.test("what is no amount is refused", () => {
  for (const text of ["", "1e-7", "NaN", "1.0000000000001", ".5", "1,5"]) {
    throws(() => usd(text), RangeError);
  }
});

Deno.test("a length is between nothing and all", () => {
  strictEqual(share(usd("1"), usd("4")), 0.25);
  strictEqual(share(usd("5"), usd("4")), 1);
  strictEqual(share(usd("-1"), usd("4")), 0);
  strictEqual(share(usd("1"), usd("0")), 0);
});
