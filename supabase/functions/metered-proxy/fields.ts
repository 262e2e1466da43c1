/**
 * What of a request is passed on: the fields of OpenAI's chat completions whose cost is that of the
 * tokens. A field that nobody here knows may name another model, or buy what has no price: searches,
 * plugins, tools that the provider runs.
 */

import { invalid, Refusal } from "./refusals.ts";

const FIELDS = new Set([
  "audio",
  "frequency_penalty",
  "function_call",
  "functions",
  "logit_bias",
  "logprobs",
  "max_completion_tokens",
  "max_tokens",
  "messages",
  "metadata",
  "modalities",
  "model",
  "n",
  "parallel_tool_calls",
  "prediction",
  "presence_penalty",
  "prompt_cache_key",
  "prompt_cache_retention",
  "reasoning_effort",
  "response_format",
  "safety_identifier",
  "seed",
  "service_tier",
  "stop",
  "store",
  "stream",
  "stream_options",
  "temperature",
  "tool_choice",
  "tools",
  "top_logprobs",
  "top_p",
  "user",
  "verbosity",
]);
/** Tools the caller runs. */
const TOOLS = new Set<unknown>(["custom", "function"]);

/**
 * Checks that everything in a request is known, or is among the extra fields of this provider.
 *
 * @throws Refusal 400, which names the field.
 */
export function checkFields(body: Record<string, unknown>, extraFields: Set<string>): void {
  const unknown = Object.keys(body).find((name) => !FIELDS.has(name) && !extraFields.has(name));
  if (unknown !== undefined) {
    throw new Refusal(400, "unknown_parameter", `${JSON.stringify(unknown)} is not passed on`, {
      param: unknown,
    });
  }
  const tools = body.tools ?? [];
  if (!Array.isArray(tools) || !tools.every((tool) => TOOLS.has(tool?.type))) {
    throw invalid("tools", "must be a list of functions, which the caller runs");
  }
}
