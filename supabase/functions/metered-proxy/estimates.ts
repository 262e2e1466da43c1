/**
 * How many tokens a text may be, where nobody has counted yet.
 *
 * Tokenizers differ by model, and a proxy must not spend its time on one. English is about 4 bytes
 * a token, code and most other languages 3. A prompt is taken at 3, so that the hold is rather too
 * high: what it did not need is free again after the call.
 */

const PROMPT_BYTES_PER_TOKEN = 3;
const ANSWER_BYTES_PER_TOKEN = 4;
const TOKENS_PER_MESSAGE = 4;
/** An image in high detail, at the dearest factor of a list of models. */
const TOKENS_PER_IMAGE = 2500;
/** 10 tokens a second, at the 16 kilobits a second of the thinnest speech. */
const AUDIO_BYTES_PER_TOKEN = 200;
/** A page of a document is some thousand tokens, and seldom below 20 kilobytes. */
const FILE_BYTES_PER_TOKEN = 10;

type Json = Record<string, unknown>;

/** The tokens of everything in a request that the model reads. */
export function promptTokens(body: Json): number {
  let tokens = 0;
  const { messages, tools, functions, response_format } = body;
  const text = JSON.stringify({ messages, tools, functions, response_format }, (_, part) => {
    const other = otherThanText(part);
    tokens += other ?? 0;
    return other === undefined ? part : undefined;
  });
  tokens += Array.isArray(messages) ? messages.length * TOKENS_PER_MESSAGE : 0;
  return tokens + Math.ceil(byteLength(text) / PROMPT_BYTES_PER_TOKEN);
}

/** The tokens of an answer: as many as it came in pieces, or more where pieces are longer. */
export function answerTokens(bytes: number, pieces = 0): number {
  return Math.max(pieces, Math.ceil(bytes / ANSWER_BYTES_PER_TOKEN));
}

/** How many bytes a text is. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** The tokens of a part of a message that is no text; undefined for all else. */
function otherThanText(part: unknown): number | undefined {
  const { type, input_audio: audio, file } = (part ?? {}) as {
    type?: unknown;
    input_audio?: { data?: unknown };
    file?: { file_data?: unknown };
  };
  switch (type) {
    case "image_url":
      return TOKENS_PER_IMAGE;
    case "input_audio":
      return Math.ceil(decodedBytes(audio?.data) / AUDIO_BYTES_PER_TOKEN);
    case "file":
      return TOKENS_PER_IMAGE + Math.ceil(decodedBytes(file?.file_data) / FILE_BYTES_PER_TOKEN);
  }
  return undefined;
}

function decodedBytes(base64: unknown): number {
  return typeof base64 === "string" ? base64.length * 3 / 4 : 0;
}
