/** Spend by day as stacked bars, a colour per model. */

import { drawing, element } from "./elements.ts";
import { dollars, share, sum, type Usd } from "./money.ts";

export interface Bar {
  day: string;
  /** By model. */
  parts: Map<string, Usd>;
}

const [STEP, WIDTH, HEIGHT] = [10, 7, 100];
const COLOURS = 6;

/** The colour of a model: those after the dearest share the last. */
export function colour(position: number): string {
  return `var(--model-${Math.min(position, COLOURS - 1)})`;
}

/** Draws the bars; who cannot see them reads the same amounts in the tables. */
export function chart(bars: Bar[], models: string[]): HTMLElement {
  const highest = bars.map((bar) => sum(bar.parts.values()))
    .reduce((most, total) => (total > most ? total : most), 0n);
  const picture = drawing(
    "svg",
    {
      viewBox: `0 0 ${bars.length * STEP} ${HEIGHT}`,
      preserveAspectRatio: "none",
      role: "img",
      "aria-label": `Spend by day, at most ${dollars(highest)}`,
    },
    ...bars.map((bar, number) => column(bar, number * STEP, highest, models)),
  );
  const days = [bars.at(0), bars.at(bars.length / 2), bars.at(-1)].map((bar) =>
    element("span", {}, date(bar!.day))
  );
  return element(
    "figure",
    {},
    element("div", { class: "scale" }, dollars(highest)),
    picture,
    element("div", { class: "days" }, ...days),
    legend(models),
  );
}

function column(bar: Bar, x: number, highest: Usd, models: string[]): SVGElement {
  let y = HEIGHT;
  const parts = models.filter((model) => bar.parts.has(model)).map((model) => {
    const height = HEIGHT * share(bar.parts.get(model)!, highest);
    y -= height;
    const fill = colour(models.indexOf(model));
    return drawing("rect", { x: x + (STEP - WIDTH) / 2, y, width: WIDTH, height, fill });
  });
  const total = dollars(sum(bar.parts.values()));
  const details = [...bar.parts].map(([model, cost]) => `${model} ${dollars(cost)}`);
  return drawing(
    "g",
    { "data-day": bar.day },
    drawing("title", {}, [`${date(bar.day)}: ${total}`, ...details].join("\n")),
    drawing("rect", { x, y: 0, width: STEP, height: HEIGHT, class: "touch" }),
    ...parts,
  );
}

function date(day: string): string {
  const form = { day: "numeric", month: "short", timeZone: "UTC" } as const;
  return new Date(`${day}T00:00:00Z`).toLocaleDateString(undefined, form);
}

/** The models by colour. */
function legend(models: string[]): HTMLElement {
  const entries = models.map((model, position) => element("li", {}, swatch(position), model));
  return element("ul", { class: "legend" }, ...entries);
}

export function swatch(position: number): HTMLElement {
  return element("span", { class: "swatch", style: `background: ${colour(position)}` });
}
