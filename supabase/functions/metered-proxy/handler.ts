/**
 * The metered proxy: OpenAI's chat completions, for users of your application, within their budgets.
 *
 * Each call is held as the user who makes it, sent to the provider, and settled by what the provider
 * says it used, with the secret key. One that the provider fails is released.
 */

import { callerClient, type Client, payingOrganization, serverClient } from "./callers.ts";
import { authorize, claim, type Hold, release, settle } from "./ledger.ts";
import { Meter } from "./meter.ts";
import { ask, Deadline, providerBroke, providerFailure, readAnswer } from "./provider.ts";
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
  const answered = chat.isStream ? stream(call, request.signal) : answer(call);
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

/** Answers as a whole. A caller who goes away does not end it: its usage is only known at the end. */
async function answer({ settings, server, hold, chat }: Call): Promise<Response> {
  const deadline = new Deadline();
  deadline.set(settings.timeoutMs);
  const meter = new Meter(chat);
  let text: string;
  try {
    const response = await ask(settings, chat.body, deadline);
    text = await response.text();
    meter.see(readAnswer(text));
  } catch (error) {
    const failure = providerFailure(error, deadline);
    await release(server, hold, failure.code);
    throw failure;
  } finally {
    deadline.clear();
  }
  const cost = await settle(server, hold, meter.usage);
  return new Response(text, {
    headers: {
      ...headersOf(hold, chat),
      "content-type": "application/json",
      ...(cost === null ? {} : { "x-tallystick-cost-usd": cost }),
    },
  });
}

/** Answers as a stream. A caller who goes away ends it, and pays for what came until then. */
async function stream(call: Call, callerGone: AbortSignal): Promise<Response> {
  const { settings, server, hold, chat } = call;
  const deadline = new Deadline();
  deadline.set(settings.timeoutMs);
  const meter = new Meter(chat);
  const goneEarly = () => deadline.abort();
  callerGone.addEventListener("abort", goneEarly);
  let response: Response;
  try {
    response = await ask(settings, chat.body, deadline);
    if (!response.body) {
      throw providerBroke();
    }
  } catch (error) {
    const failure = providerFailure(error, deadline);
    if (callerGone.aborted && !deadline.hasPassed) {
      await settle(server, hold, meter.usage); // the provider had the prompt
    } else {
      await release(server, hold, failure.code);
    }
    throw failure;
  } finally {
    deadline.clear();
    callerGone.removeEventListener("abort", goneEarly);
  }
  const relayed = relay(response.body, {
    meter,
    deadline,
    idleMs: settings.idleMs,
    end: async (ending) => {
      const ended = ending === "broken" && !meter.hasBegun
        ? release(server, hold, "provider_error")
        : settle(server, hold, meter.usage);
      keepAlive(ended);
      await ended;
    },
  });
  return new Response(relayed, {
    headers: {
      ...headersOf(hold, chat),
      "content-type": "text/event-stream",
      "cache-control": "no-cache",
    },
  });
}

function headersOf(hold: Hold, chat: ChatRequest): Record<string, string> {
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
