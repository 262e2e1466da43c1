/** The overview: from rows of the database to what is seen. */

import { type Bar, chart, swatch } from "./chart.ts";
import { byId, element } from "./elements.ts";
import type { Organization, Overview } from "./ledger.ts";
import { dollars, share, sum, usd } from "./money.ts";

const DAYS = 30;
const NUMBERS = new Intl.NumberFormat();
const TIMES = new Intl.DateTimeFormat(undefined, {
  month: "short",
  day: "numeric",
  hour: "numeric",
  minute: "2-digit",
});

/** The last days in an organization's own time zone, today the last. */
export function lastDays(timeZone: string, now = new Date()): string[] {
  const today = new Intl.DateTimeFormat("en-CA", { timeZone, dateStyle: "short" }).format(now);
  return Array.from({ length: DAYS }, (_, back) => {
    const day = new Date(`${today}T00:00:00Z`);
    day.setUTCDate(day.getUTCDate() - (DAYS - 1 - back));
    return day.toISOString().slice(0, 10);
  });
}

/** The first day that is shown of anything: of the last days, or of this month. */
export function firstDay(timeZone: string, now = new Date()): string {
  const days = lastDays(timeZone, now);
  const month = `${days.at(-1)!.slice(0, 7)}-01`;
  return month < days[0]! ? month : days[0]!;
}

/** Shows no figure of anybody, as long as none was read. */
export function clear(): void {
  for (const id of ["today", "month", "held", "chart", "budgets", "known-models"]) {
    byId(id).replaceChildren();
  }
  for (const id of ["models", "days", "holds", "usages"]) {
    fill(id, []);
    byId(`no-${id}`).hidden = true;
  }
  for (const id of ["frozen", "by-day", "no-budgets"]) {
    byId(id).hidden = true;
  }
}

export function show(organization: Organization, overview: Overview): void {
  const days = lastDays(organization.time_zone);
  showFigures(days, organization, overview);
  showSpend(days, overview.spend.filter((row) => row.day! >= days[0]!));
  showBudgets(overview.budgets);
  showHolds(overview.holds);
  showUsages(overview.usages);
}

function showFigures(days: string[], organization: Organization, overview: Overview): void {
  const today = days.at(-1)!;
  const spentIn = (period: string) =>
    sum(overview.spend.filter((row) => row.day!.startsWith(period)).map((row) => usd(row.cost)));
  byId("today").textContent = dollars(spentIn(today));
  byId("month").textContent = dollars(spentIn(today.slice(0, 7)));
  const held = overview.budgets.find((budget) => budget.budget_id === organization.id)?.held_usd;
  byId("held").textContent = dollars(usd(held ?? "0"));
  byId("frozen").hidden = organization.frozen_at === null;
}

function showSpend(days: string[], spend: Overview["spend"]): void {
  const byModel = Object.entries(Object.groupBy(spend, (row) => row.model!)).map(
    ([model, rows = []]) => ({
      model,
      cost: sum(rows.map((row) => usd(row.cost))),
      requests: total(rows.map((row) => row.requests)),
      input: total(rows.map((row) => row.prompt_tokens)),
      output: total(rows.map((row) => row.completion_tokens)),
    }),
  ).sort((one, other) => (one.cost < other.cost ? 1 : -1));
  const bars: Bar[] = days.map((day) => ({
    day,
    parts: new Map(
      spend.filter((row) => row.day === day).map((row) => [row.model!, usd(row.cost)]),
    ),
  }));
  const models = byModel.map((row) => row.model);
  byId("chart").replaceChildren(...(models.length > 0 ? [chart(bars, models)] : []));
  byId("by-day").hidden = models.length === 0;
  fill(
    "models",
    byModel.map((row, position) => [
      element("span", {}, swatch(position), row.model),
      number(row.requests),
      number(row.input),
      number(row.output),
      money(row.cost),
    ]),
  );
  fill(
    "days",
    bars.filter((bar) => bar.parts.size > 0).reverse().map((bar) => [
      bar.day,
      money(sum(bar.parts.values())),
    ]),
  );
  byId("known-models").replaceChildren(
    ...models.map((model) => element("option", { value: model })),
  );
}

function showBudgets(budgets: Overview["budgets"]): void {
  const limited = budgets.filter((budget) => budget.limit_usd !== null);
  byId("budgets").replaceChildren(...limited.map((budget) => {
    const [limit, settled, held] = [budget.limit_usd, budget.settled_usd, budget.held_usd].map((
      text,
    ) => usd(text));
    const remaining = usd(budget.remaining_usd);
    const name = [budget.scope, budget.scope_id].filter(Boolean).join(" ");
    const window = budget.time_window === "total" ? "in total" : `per ${budget.time_window}`;
    const used = share(settled! + held!, limit!);
    return element(
      "li",
      { class: remaining <= 0n ? "budget spent" : "budget", "data-budget": name },
      element(
        "header",
        {},
        element("h3", {}, name),
        element("span", { class: "window" }, `${dollars(limit!)} ${window}`),
        budget.enforcement === "soft" ? element("span", { class: "badge" }, "soft") : null,
        budget.frozen_at ? element("span", { class: "badge alert" }, "frozen") : null,
      ),
      element("p", { class: "remaining" }, element("strong", {}, dollars(remaining)), " left"),
      element(
        "div",
        {
          class: "meter",
          role: "meter",
          "aria-label": `${name}, used`,
          "aria-valuemin": 0,
          "aria-valuemax": 100,
          "aria-valuenow": Math.round(used * 100),
          "aria-valuetext": `${dollars(settled!)} spent and ${dollars(held!)} held`,
        },
        part("settled", share(settled!, limit!)),
        part("held", used - share(settled!, limit!)),
      ),
      element(
        "p",
        { class: "fine" },
        `${dollars(settled!)} spent, ${dollars(held!)} held`,
        budget.resets_at ? `; resets ${time(budget.resets_at)}` : "",
      ),
    );
  }));
  byId("no-budgets").hidden = limited.length > 0;
}

function part(kind: string, size: number): HTMLElement {
  return element("span", { class: kind, style: `width: ${100 * size}%` });
}

function showHolds(holds: Overview["holds"]): void {
  fill(
    "holds",
    holds.map((hold) => [
      hold.model,
      element("span", { class: "detail" }, time(hold.created_at)),
      time(hold.expires_at),
      money(usd(hold.held_usd)),
    ]),
  );
}

function showUsages(usages: Overview["usages"]): void {
  fill(
    "usages",
    usages.map((usage) => [
      time(usage.settled_at),
      element(
        "span",
        {},
        usage.model,
        usage.cost_basis === "priced"
          ? null
          : element("span", { class: "badge" }, usage.cost_basis),
        usage.settlement === "on_hold"
          ? null
          : element("span", { class: "badge" }, usage.settlement.replace("_", " ")),
      ),
      number(usage.prompt_tokens),
      number(usage.completion_tokens),
      money(usd(usage.cost)),
    ]),
  );
}

type Cell = string | HTMLElement;

/** Fills the body of a table, or shows what stands for an empty one. */
function fill(id: string, rows: Cell[][]): void {
  const table = byId<HTMLTableElement>(id);
  table.tBodies[0]!.replaceChildren(
    ...rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, cell)))),
  );
  table.parentElement!.hidden = rows.length === 0;
  byId(`no-${id}`).hidden = rows.length > 0;
}

const number = (count: number) =>
  element("span", { class: "number detail" }, NUMBERS.format(count));
const money = (amount: bigint) => element("span", { class: "number" }, dollars(amount));
const time = (text: string) => TIMES.format(new Date(text));
const total = (counts: (number | null)[]) =>
  counts.reduce<number>((sum, count) => sum + (count ?? 0), 0);
