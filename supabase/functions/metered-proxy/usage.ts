/**
 * From what an OpenAI-compatible API reports to exclusive token classes.
 *
 * Its counts overlap: `prompt_tokens` includes cached, audio and image tokens, `completion_tokens`
 * includes reasoning and audio. Some services leave reasoning out of it and count it in
 * `total_tokens` only, so what of the total is not prompt is output. The same as
 * python_client/tallystick/adapters/openai.py; a test holds the two equal. A report that states what
 * is no count is none: there it is an error, here an estimate takes its place.
 */

/** The largest count the ledger takes. */
const LARGEST_COUNT = 2_147_483_647;

/** `p_usage` of settle_spend: each token in exactly one class. */
export type Usage = Record<string, number | string | boolean>;

type Json = Record<string, unknown>;

/** Reads the usage of a response or of a stream's chunk; null where it states none to be believed. */
export function readUsage(response: Json): Usage | null {
  const stated = response.usage as Json | null | undefined;
  if (!holdsCounts(stated) || count(stated, "prompt_tokens", "completion_tokens") === undefined) {
    return null;
  }
  const input = stated?.prompt_tokens_details as Json | undefined;
  const output = stated?.completion_tokens_details as Json | undefined;
  const cached = input?.cached_tokens_details as Json | undefined;
  const prompt = count(stated, "prompt_tokens") ?? 0;
  const received = Math.max(
    count(stated, "completion_tokens") ?? 0,
    (count(stated, "total_tokens") ?? 0) - prompt,
  );
  const usage: Usage = {
    ...inputClasses(prompt, {
      cached: count(input, "cached_tokens") ?? 0,
      written: count(input, "cache_write_tokens") ?? 0,
      audio: count(input, "audio_tokens") ?? 0,
      image: count(input, "image_tokens") ?? 0,
      cachedAudio: count(cached, "audio_tokens") ?? 0,
      cachedImage: count(cached, "image_tokens") ?? 0,
    }),
    ...outputClasses(received, {
      reasoning: count(output, "reasoning_tokens") ?? 0,
      audio: count(output, "audio_tokens") ?? 0,
      image: count(output, "image_tokens") ?? 0,
    }),
  };
  for (const [name, tokens] of Object.entries(usage)) {
    if (tokens === 0) {
      delete usage[name];
    }
  }
  return usage;
}

/** The tier that served; undefined where it is not said, or is a wish (`auto`). */
export function servedTier(response: Json): string | undefined {
  const tier = response.service_tier;
  return typeof tier === "string" && tier.trim() && tier !== "auto" ? tier : undefined;
}

/** Where a report contradicts itself, each count is cut to what is left of the total. */
function inputClasses(total: number, parts: {
  cached: number;
  written: number;
  audio: number;
  image: number;
  cachedAudio: number;
  cachedImage: number;
}): Usage {
  const [audio, image, plain] = spread(total, [parts.audio, parts.image, total]);
  const written = Math.min(parts.written, total);
  const cached = Math.min(parts.cached, total - written);
  // What was read from the cache and is not said to be audio or an image is text, as far as it goes.
  const [saidAudio, saidImage, unsaid] = spread(cached, [
    Math.min(parts.cachedAudio, audio),
    Math.min(parts.cachedImage, image),
    cached,
  ]);
  const [readPlain, moreImage, moreAudio] = spread(unsaid, [
    plain,
    image - saidImage,
    audio - saidAudio,
  ]);
  const [readAudio, readImage] = [saidAudio + moreAudio, saidImage + moreImage];
  const [writtenPlain, writtenImage, writtenAudio] = spread(written, [
    plain - readPlain,
    image - readImage,
    audio - readAudio,
  ]);
  return {
    input_tokens: plain - readPlain - writtenPlain,
    cache_read_tokens: readPlain,
    cache_write_5m_tokens: written,
    input_audio_tokens: audio - readAudio - writtenAudio,
    cache_read_audio_tokens: readAudio,
    input_image_tokens: image - readImage - writtenImage,
    cache_read_image_tokens: readImage,
  };
}

function outputClasses(
  total: number,
  parts: { reasoning: number; audio: number; image: number },
): Usage {
  const [audio, image, reasoning, plain] = spread(total, [
    parts.audio,
    parts.image,
    parts.reasoning,
    total,
  ]);
  return {
    output_tokens: plain,
    reasoning_tokens: reasoning,
    output_audio_tokens: audio,
    output_image_tokens: image,
  };
}

/** Spreads an amount over rooms of these sizes, in their order; what fits in none is left out. */
function spread<Rooms extends [number, ...number[]]>(amount: number, sizes: Rooms): Rooms {
  return sizes.map((size) => {
    const share = Math.min(size, amount);
    amount -= share;
    return share;
  }) as Rooms;
}

/** Whether what is said of tokens, at any depth, are counts; a null says nothing. */
function holdsCounts(report: unknown): boolean {
  return typeof report !== "object" ||
    Object.entries(report ?? {}).every(([name, value]) =>
      name.endsWith("_tokens") ? value === null || isCount(value) : holdsCounts(value)
    );
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && value as number >= 0 && value as number <= LARGEST_COUNT;
}

/** The first of several fields that states a count. */
function count(source: Json | null | undefined, ...names: string[]): number | undefined {
  return names.map((name) => source?.[name]).find(isCount);
}
