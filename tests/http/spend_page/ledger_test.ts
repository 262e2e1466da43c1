import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { rows } from "../../../supabase/examples/spend-page/ledger.ts";

/** Answers like PostgREST: never more rows at once than it is set to. */
function listing(all: number[], atMost: number) {
  const asked: number[] = [];
  return {
    asked,
    range(from: number, to: number) {
      asked.push(from);
      const data = all.slice(from, Math.min(to + 1, from + atMost));
      return Promise.resolve({ data, count: all.length, error: null });
    },
  };
}

Deno.test("a listing is read to its end, however few rows come at once", async () => {
  const all = Array.from({ length: 2400 }, (_, row) => row);
  for (
    const [atMost, asked] of [[1000, [0, 1000, 2000]], [900, [0, 900, 1800]], [3000, [
      0,
      1000,
      2000,
    ]]] as const
  ) {
    const found = listing(all, atMost);
    deepStrictEqual(await rows(found), all);
    deepStrictEqual(found.asked, asked);
  }
});

Deno.test("what comes at once is asked for once", async () => {
  const found = listing([1, 2, 3], 1000);
  deepStrictEqual(await rows(found), [1, 2, 3]);
  strictEqual(found.asked.length, 1);
  deepStrictEqual(await rows(listing([], 1000)), []);
});

Deno.test("rows that went meanwhile are not waited for", async () => {
  const range = (from: number) =>
    Promise.resolve({ data: [1, 2, 3].slice(from), count: 4, error: null });
  deepStrictEqual(await rows({ range }), [1, 2, 3]);
});

Deno.test("a refused page is an error, not the end", async () => {
  const range = () => Promise.resolve({ data: null, count: null, error: { message: "no" } });
  await rejects(rows({ range }), new Error("no"));
});
