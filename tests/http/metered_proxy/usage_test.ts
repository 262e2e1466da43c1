import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { readUsage, servedTier } from "../../../supabase/functions/metered-proxy/usage.ts";

Deno.test("cached and reasoning tokens are taken out of what includes them", () => {
  deepStrictEqual(
    readUsage({
      usage: {
        prompt_tokens: 1200,
        completion_tokens: 300,
        total_tokens: 1500,
        prompt_tokens_details: { cached_tokens: 1024, audio_tokens: 0 },
        completion_tokens_details: { reasoning_tokens: 128 },
      },
    }),
    { input_tokens: 176, cache_read_tokens: 1024, output_tokens: 172, reasoning_tokens: 128 },
  );
});

Deno.test("audio and images are classes of their own, on both sides", () => {
  deepStrictEqual(
    readUsage({
      usage: {
        prompt_tokens: 100,
        completion_tokens: 60,
        prompt_tokens_details: { audio_tokens: 40, image_tokens: 10, cached_tokens: 55 },
        completion_tokens_details: { audio_tokens: 50 },
      },
    }),
    {
      cache_read_tokens: 50,
      cache_read_image_tokens: 5,
      input_image_tokens: 5,
      input_audio_tokens: 40,
      output_tokens: 10,
      output_audio_tokens: 50,
    },
  );
});

Deno.test("what only the total counts is output", () => {
  deepStrictEqual(
    readUsage({ usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 40 } }),
    { input_tokens: 10, output_tokens: 30 },
  );
});

Deno.test("no usage is not a usage of nothing", () => {
  strictEqual(readUsage({}), null);
  strictEqual(readUsage({ usage: null }), null);
  deepStrictEqual(readUsage({ usage: { prompt_tokens: 0, completion_tokens: 0 } }), {});
});

for (const impossible of [1e18, 2 ** 31, 1.5, -1, "12", true, {}]) {
  Deno.test(`${impossible} ${typeof impossible} is no count, so nothing is said`, () => {
    const usage = { prompt_tokens: 9, completion_tokens: 2, prompt_tokens_details: {} };
    for (
      const said of [
        { prompt_tokens: impossible },
        { completion_tokens: impossible },
        { total_tokens: impossible },
        { prompt_tokens_details: { cached_tokens: impossible } },
      ]
    ) {
      strictEqual(readUsage({ usage: { ...usage, ...said } }), null);
    }
  });
}

Deno.test("what is said beside tokens may be anything", () => {
  const beside = { cost: 0.0012, queue_time: 1e18, is_byok: false, server_tool_use: null };
  const usage = { prompt_tokens: 9, completion_tokens: 2, total_tokens: null, ...beside };
  deepStrictEqual(readUsage({ usage }), { input_tokens: 9, output_tokens: 2 });
  strictEqual(readUsage({ usage: "much" }), null);
});

Deno.test("the tier that served is told from a wish", () => {
  strictEqual(servedTier({ service_tier: "flex" }), "flex");
  strictEqual(servedTier({ service_tier: "auto" }), undefined);
  strictEqual(servedTier({ service_tier: null }), undefined);
});
