/**
 * The metered proxy: OpenAI's chat completions, for users of your application, within their budgets.
 *
 * Each call is held as the user who makes it, sent to the provider, and settled by what the provider
 * says it used, with the secret key. One that the provider fails is released.
 */

import { callerClient, type Client, payingOrganization, serverClient } from "./callers.ts";
import { authorize, claim, costOfOther, type Hold, release, settle } from "./ledger.ts";
import { Meter } from "./meter.ts";
import { ask, Deadline, providerFailure } from "./provider.ts";
import { Refusal } from "./refusals.ts";
import { relay } from "./relay.ts";
import { type ChatRequest, readRequest } from "./requests.ts";
import { readSettings, type Settings } from "./settings.ts";

const PATH = /\/chat\/completions\/?$/;
const CORS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "POST, OPTIONS",
  "access-control-allow-headers": "*, authorization",
  "access-control-expose-headers": "*",
};

/** A call that is held: what it takes to answer and end it. */
interface Call {
  settings: Settings;
  server: Client;
  hold: Hold;
  chat: ChatRequest;
}

/** Makes the handler of requests; settings are read at the first one. */
export function createHandler(
  env: (name: string) => string | undefined,
): (request: Request) => Promise<Response> {
  return async (request) => {
    const response = await respond(request, env).catch((error) => {
      if (error instanceof Refusal) {
        return error.response();
      }
      console.error("metered-proxy:", error);
      return new Refusal(500, "internal_error", "the proxy failed").response();
    });
    for (const [name, value] of Object.entries(CORS)) {
      response.headers.set(name, value);
    }
    return response;
  };
}

async function respond(
  request: Request,
  env: (name: string) => string | undefined,
): Promise<Response> {
  if (request.method === "OPTIONS") {
    return new Response(null, { status: 204 });
  }
  // Mounted under the function's name, or alone.
  if (!PATH.test(new URL(request.url).pathname)) {
    throw new Refusal(404, "not_found", "the proxy answers /v1/chat/completions");
  }
  if (request.method !== "POST") {
    throw new Refusal(405, "method_not_allowed", "use POST", { headers: { allow: "POST" } });
  }
  const settings = readSettings(env);
  const caller = await callerClient(request, settings);
  const chat = await readRequest(request, settings);
  const call = await hold(caller, settings, chat);
  if (request.signal.aborted) {
    await release(call.server, call.hold, "caller gone");
    throw new Refusal(499, "caller_gone", "the caller did not wait");
  }
  const answered = answer(call, request.signal);
  keepAlive(answered);
  return await answered;
}

async function hold(caller: Client, settings: Settings, chat: ChatRequest): Promise<Call> {
  const organizationId = await payingOrganization(caller, chat.organizationId);
  const hold = await authorize(caller, organizationId, chat, settings.providerName);
  const server = serverClient(settings);
  try {
    await claim(server, hold);
  } catch (error) {
    if (!(error instanceof Refusal && error.code === "request_in_progress")) {
      await release(server, hold, "not claimed");
    }
    throw error;
  }
  return { settings, server, hold, chat };
}

/** Asks the provider, and passes its answer on. */
async function answer(call: Call, callerGone: AbortSignal): Promise<Response> {
  const deadline = new Deadline(call.settings.callMs);
  deadline.set(call.settings.timeoutMs);
  const meter = new Meter(call.chat);
  if (!call.chat.isStream) {
    return await whole(await asked(call, deadline), call, meter, deadline);
  }
  const response = await asked(call, deadline, callerGone);
  // Some services answer as a whole whatever they are asked for.
  return /json/i.test(response.headers.get("content-type") ?? "")
    ? await whole(response, call, meter, deadline)
    : stream(response, call, meter, deadline);
}

/**
 * Asks the provider. A call that it does not take costs nothing. What the caller gives up before it
 * begins is paid for where it is given up at the provider too, which had the prompt.
 */
async function asked(
  { settings, server, hold, chat }: Call,
  deadline: Deadline,
  callerGone?: AbortSignal,
): Promise<Response> {
  const goneEarly = () => deadline.abort();
  callerGone?.addEventListener("abort", goneEarly);
  try {
    return await ask(settings, chat.body, deadline);
  } catch (error) {
    const failure = providerFailure(error, deadline);
    if (callerGone?.aborted && !deadline.hasPassed) {
      await settle(server, hold, new Meter(chat).usage);
    } else {
      await release(server, hold, failure.code);
    }
    deadline.abort();
    throw failure;
  } finally {
    callerGone?.removeEventListener("abort", goneEarly);
  }
}

/**
 * Answers as a whole, with what it cost. A caller who goes away does not end it: its usage is only
 * known at the end. Who took the call may bill it, also where the answer cannot be read.
 */
async function whole(
  response: Response,
  call: Call,
  meter: Meter,
  deadline: Deadline,
): Promise<Response> {
  let text: string;
  try {
    text = await response.text();
    meter.read(text);
  } catch (error) {
    const failure = providerFailure(error, deadline);
    await conclude(call, meter);
    throw failure;
  } finally {
    deadline.abort();
  }
  const cost = await conclude(call, meter);
  return new Response(text, {
    headers: {
      ...headersOf(call),
      "content-type": "application/json",
      ...(cost === null ? {} : { "x-tallystick-cost-usd": cost }),
    },
  });
}

/** Answers as a stream. A caller who goes away ends it, and pays for what came until then. */
function stream(response: Response, call: Call, meter: Meter, deadline: Deadline): Response {
  deadline.clear(); // it has begun
  const relayed = relay(response.body ?? new Blob().stream(), {
    meter,
    deadline,
    idleMs: call.settings.idleMs,
    end: async () => {
      const ended = conclude(call, meter);
      keepAlive(ended);
      await ended;
    },
  });
  return new Response(relayed, {
    headers: {
      ...headersOf(call),
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
    },
  });
}

/** Ends a call that was taken: settled, unless all that came of it is that it failed. */
async function conclude(call: Call, meter: Meter): Promise<string | null> {
  const { settings, server, hold, chat } = call;
  if (meter.isFailure) {
    await release(server, hold, "provider_error");
    return null;
  }
  const { usage, otherModel } = meter;
  const cost = otherModel === null
    ? null
    : await costOfOther(server, hold, usage, otherModel, chat, settings.providerName);
  return await settle(server, hold, usage, cost);
}

function headersOf({ hold, chat }: Call): Record<string, string> {
  return {
    "x-request-id": chat.requestId,
    "x-tallystick-hold-id": hold.id,
    "x-tallystick-held-usd": hold.heldUsd,
  };
}

/** Supabase ends a worker that has answered unless it is told what is still to be done. */
function keepAlive(work: Promise<unknown>): void {
  const { EdgeRuntime } = globalThis as {
    EdgeRuntime?: { waitUntil: (work: Promise<unknown>) => void };
  };
  EdgeRuntime?.waitUntil(work.catch(() => {}));
}
