/** What a caller asks for: the body, and the headers that say what it belongs to. */

import { promptTokens } from "./estimates.ts";
import { checkFields } from "./fields.ts";
import { invalid, Refusal } from "./refusals.ts";
import type { Settings } from "./settings.ts";

const LONGEST_BODY = 20 * 1024 * 1024; // bytes
const LONGEST_ID = 255;
const MOST_CHOICES = 128;

export interface ChatRequest {
  /** What the provider is sent. */
  body: Record<string, unknown>;
  model: string;
  serviceTier: string | null;
  isStream: boolean;
  /** Whether the caller wants the chunk with the usage; the proxy always does. */
  wantsUsage: boolean;
  inputTokens: number;
  /** Of all choices together. */
  maxOutputTokens: number;
  /** Makes a retry the same call. */
  requestId: string;
  organizationId: string | null;
  workflowId: string | null;
  runId: string | null;
  ventureId: string | null;
  tags: Record<string, string>;
}

/**
 * Reads a request for a chat completion.
 *
 * @throws Refusal 400 or 413, which names the field.
 */
export async function readRequest(request: Request, settings: Settings): Promise<ChatRequest> {
  const body = await readBody(request);
  checkFields(body, settings.extraFields);
  const model = body.model;
  if (typeof model !== "string" || model.trim() === "") {
    throw invalid("model", "must be the name of a model");
  }
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    throw invalid("messages", "must be a list of messages");
  }
  const tier = body.service_tier ?? null;
  if (tier !== null && typeof tier !== "string") {
    throw invalid("service_tier", "must be a text");
  }
  const limit = outputLimit(body) ?? settings.maxOutputTokens;
  const choices = positive(body, "n") ?? 1;
  if (choices > MOST_CHOICES) {
    throw invalid("n", `must be at most ${MOST_CHOICES}`);
  }
  const isStream = flag(body, "stream");
  const options = streamOptions(body);
  const { max_completion_tokens: _, max_tokens: __, ...rest } = body;
  return {
    body: {
      ...rest,
      // What is held for is what the provider is told, in the one field it obeys.
      [settings.outputLimitField]: limit,
      ...(isStream ? { stream_options: { ...options, include_usage: true } } : {}),
    },
    model,
    serviceTier: tier,
    isStream,
    wantsUsage: flag(options, "include_usage"),
    inputTokens: promptTokens(body),
    maxOutputTokens: choices * limit,
    requestId: requestId(request.headers),
    // OpenAI's clients send their `organization` in this header.
    organizationId: id(request.headers, "openai-organization"),
    workflowId: id(request.headers, "x-tallystick-workflow-id"),
    runId: id(request.headers, "x-tallystick-run-id"),
    ventureId: id(request.headers, "x-tallystick-venture-id"),
    tags: tags(request.headers),
  };
}

async function readBody(request: Request): Promise<Record<string, unknown>> {
  if (Number(request.headers.get("content-length")) > LONGEST_BODY) {
    throw tooLong();
  }
  const bytes = await request.arrayBuffer();
  if (bytes.byteLength > LONGEST_BODY) {
    throw tooLong();
  }
  let body: unknown;
  try {
    body = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Refusal(400, "invalid_json", "the body is not JSON");
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    throw new Refusal(400, "invalid_json", "the body is not a JSON object");
  }
  return body as Record<string, unknown>;
}

/** How long an answer may be, by the name of today or of old; providers differ in which they obey. */
function outputLimit(body: Record<string, unknown>): number | null {
  const limit = positive(body, "max_completion_tokens");
  const old = positive(body, "max_tokens");
  if (limit !== null && old !== null && limit !== old) {
    throw invalid("max_tokens", "must be what max_completion_tokens is, or be left out");
  }
  return limit ?? old;
}

function streamOptions(body: Record<string, unknown>): Record<string, unknown> {
  const options = body.stream_options ?? {};
  if (typeof options !== "object" || Array.isArray(options)) {
    throw invalid("stream_options", "must be an object");
  }
  return options as Record<string, unknown>;
}

/** Some providers take "true" and 1 for true: they would stream what is not read as a stream. */
function flag(body: Record<string, unknown>, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value !== "boolean") {
    throw invalid(name, "must be true or false");
  }
  return value;
}

function positive(body: Record<string, unknown>, name: string): number | null {
  const value = body[name] ?? null;
  if (value !== null && (!Number.isSafeInteger(value) || (value as number) < 1)) {
    throw invalid(name, "must be a whole number above 0");
  }
  return value as number | null;
}

/** What the caller calls this request, or, as far as it goes, the gateway; else a new name. */
function requestId(headers: Headers): string {
  const stated = headers.get("idempotency-key") ?? headers.get("x-request-id");
  if (stated === null) {
    return crypto.randomUUID();
  }
  if (stated.trim() === "" || stated.length > LONGEST_ID) {
    throw invalid("idempotency-key", `must have 1 to ${LONGEST_ID} characters`);
  }
  return stated;
}

function id(headers: Headers, name: string): string | null {
  const value = headers.get(name);
  if (value && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value)) {
    throw invalid(name, "must be a UUID");
  }
  return value || null;
}

/** `feature=chat,team=red` */
function tags(headers: Headers): Record<string, string> {
  const pairs = (headers.get("x-tallystick-tags") ?? "").split(",").filter((pair) => pair.trim());
  return Object.fromEntries(pairs.map((pair) => {
    const [name, ...value] = pair.split("=").map((part) => part.trim());
    if (!name || value.length !== 1 || !value[0]) {
      throw invalid("x-tallystick-tags", "must be name=value, and more after commas");
    }
    return [name, value[0]];
  }));
}

function tooLong(): Refusal {
  return new Refusal(413, "request_too_large", `the body has more than ${LONGEST_BODY} bytes`);
}
