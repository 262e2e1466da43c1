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

Deno.test("the tier that served is told from a wish", () => {
  strictEqual(servedTier({ service_tier: "flex" }), "flex");
  strictEqual(servedTier({ service_tier: "auto" }), undefined);
  strictEqual(servedTier({ service_tier: null }), undefined);
});
