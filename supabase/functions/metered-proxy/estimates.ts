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
  const { tools, functions, response_format, prediction } = body;
  const messages = (Array.isArray(body.messages) ? body.messages : []).map(readMessage);
  const text = JSON.stringify({
    messages: messages.map((message) => message.text),
    tools,
    functions,
    response_format,
    prediction,
  });
  return messages.reduce((sum, message) => sum + message.tokens, 0) +
    messages.length * TOKENS_PER_MESSAGE +
    Math.ceil(byteLength(text) / PROMPT_BYTES_PER_TOKEN);
}

/** The tokens of an answer: as many as it came in pieces, or more where pieces are longer. */
export function answerTokens(bytes: number, pieces = 0): number {
  return Math.max(pieces, Math.ceil(bytes / ANSWER_BYTES_PER_TOKEN));
}

/** How many bytes a text is. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** What of a message, or of a part of it, is text, and the tokens of what is none. */
interface Read {
  text: unknown;
  tokens: number;
}

function readMessage(message: unknown): Read {
  const content = (message as Json | null)?.content;
  if (!Array.isArray(content)) {
    return { text: message, tokens: 0 };
  }
  const parts = content.map(readPart);
  return {
    text: { ...message as Json, content: parts.map((part) => part.text) },
    tokens: parts.reduce((sum, part) => sum + part.tokens, 0),
  };
}

/** Only the data itself is no text: what stands beside it may be read by the model. */
function readPart(part: unknown): Read {
  const { type, image_url: _, ...rest } = (part ?? {}) as Json;
  const { data, ...audio } = (rest.input_audio ?? {}) as Json;
  const { file_data, ...file } = (rest.file ?? {}) as Json;
  switch (type) {
    case "image_url":
      return { text: rest, tokens: TOKENS_PER_IMAGE };
    case "input_audio":
      return {
        text: { ...rest, input_audio: audio },
        tokens: Math.ceil(decodedBytes(data) / AUDIO_BYTES_PER_TOKEN),
      };
    case "file":
      return {
        text: { ...rest, file },
        tokens: TOKENS_PER_IMAGE + Math.ceil(decodedBytes(file_data) / FILE_BYTES_PER_TOKEN),
      };
  }
  return { text: part, tokens: 0 };
}

function decodedBytes(base64: unknown): number {
  return typeof base64 === "string" ? base64.length * 3 / 4 : 0;
}
