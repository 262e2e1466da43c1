/** The entry point: everything is in handler.ts, where tests reach it. */

import { createHandler } from "./handler.ts";

Deno.serve(createHandler(Deno.env.get));
