/**
 * Serves the edge functions of a folder: `<name>/index.ts` at `/<name>`.
 *
 * As on Supabase, a function is a module that hands its handler to `Deno.serve`; here that call
 * registers the handler instead of listening. Folders that begin with an underscore are shared
 * code. What a function finds in its environment comes on the standard input.
 */

import { readConfig } from "./config.ts";

export interface FunctionsConfig {
  port: number;
  /** The folder, as a file URL that ends with a slash. */
  folder: string;
  environment: Record<string, string>;
}

type Handler = (request: Request) => Response | Promise<Response>;

/** Imports every function of a folder and returns its handlers by name. */
export async function loadFunctions(folder: URL): Promise<Map<string, Handler>> {
  const handlers = new Map<string, Handler>();
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.isDirectory || /^[_.]/.test(entry.name)) continue;
    const handler = await loadFunction(new URL(`${entry.name}/index.ts`, folder));
    if (handler !== null) handlers.set(entry.name, handler);
  }
  return handlers;
}

async function loadFunction(module: URL): Promise<Handler | null> {
  let handler: Handler | null = null;
  const serve = Deno.serve;
  const register = (...parts: unknown[]) => {
    handler = parts.find((part): part is Handler => typeof part === "function") ?? null;
    return { finished: Promise.resolve(), shutdown: () => Promise.resolve() };
  };
  Reflect.set(Deno, "serve", register);
  try {
    const { default: exported } = await import(module.href);
    return handler ?? exported?.fetch ?? null;
  } catch (error) {
    // One that does not start must not take the others with it.
    console.error(`${module.pathname}:`, error);
    return () =>
      Response.json({ code: "BOOT_ERROR", message: "Function failed to start" }, { status: 503 });
  } finally {
    Reflect.set(Deno, "serve", serve);
  }
}

/** Answers by the function that the path names. */
export async function dispatch(
  handlers: ReadonlyMap<string, Handler>,
  request: Request,
): Promise<Response> {
  const [, name] = new URL(request.url).pathname.split("/");
  const handler = handlers.get(name);
  if (handler === undefined) {
    return Response.json({ code: "NOT_FOUND", message: "Requested function was not found" }, {
      status: 404,
    });
  }
  try {
    return await handler(request);
  } catch (error) {
    console.error(`${name}:`, error);
    return Response.json({ code: "WORKER_ERROR", message: "Function exited due to an error" }, {
      status: 500,
    });
  }
}

if (import.meta.main) {
  const { port, folder, environment } = await readConfig<FunctionsConfig>(Deno.stdin.readable);
  for (const [name, value] of Object.entries(environment)) Deno.env.set(name, value);
  const handlers = await loadFunctions(new URL(folder));
  Deno.serve({
    hostname: "127.0.0.1",
    port,
    onListen: () => console.log(`serving ${[...handlers.keys()].join(", ") || "no function"}`),
  }, (request) => dispatch(handlers, request));
}
