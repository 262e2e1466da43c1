import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { firstDay, lastDays } from "../../../supabase/examples/spend-page/view.ts";

Deno.test("today is where the organization lives", () => {
  const now = new Date("2026-03-01T04:30:00Z");
  deepStrictEqual(
    ["UTC", "America/New_York", "Pacific/Kiritimati"].map((zone) => lastDays(zone, now).at(-1)),
    ["2026-03-01", "2026-02-28", "2026-03-01"],
  );
});

Deno.test("thirty days are thirty, also across a change of the clock", () => {
  const days = lastDays("Europe/Berlin", new Date("2026-04-10T12:00:00Z"));
  strictEqual(new Set(days).size, 30);
  deepStrictEqual([days[0], days.at(-1)], ["2026-03-12", "2026-04-10"]);
});

Deno.test("on the 31st the month still begins on its first day", () => {
  for (
    const [now, first] of [
      ["2026-12-31T12:00:00Z", "2026-12-01"],
      ["2026-12-30T12:00:00Z", "2026-12-01"],
      ["2026-12-10T12:00:00Z", "2026-11-11"],
      ["2026-03-01T12:00:00Z", "2026-01-31"],
    ] as const
  ) {
    strictEqual(firstDay("UTC", new Date(now)), first);
  }
});
