/**
 * Takes any step with supabase-js. The first line of the standard input says who there is, each
 * further one is a step; each is answered by a line with what came of it.
 */

import { createClient, type SupabaseClient } from "@supabase/supabase-js";

interface Caller {
  url: string;
  key: string;
  email?: string;
  password?: string;
}

interface Step {
  who: string;
  schema: string;
  name: string;
  arguments: Record<string, unknown>;
  columns: string | null;
}

const STATELESS = { auth: { persistSession: false, autoRefreshToken: false } };

async function signedIn({ url, key, email, password }: Caller): Promise<SupabaseClient> {
  const client = createClient(url, key, STATELESS);
  if (email && password) {
    const { error } = await client.auth.signInWithPassword({ email, password });
    if (error) {
      throw error;
    }
  }
  return client;
}

function ask(client: SupabaseClient, step: Step) {
  const schema = client.schema(step.schema);
  return step.columns === null
    ? schema.rpc(step.name, step.arguments)
    : schema.from(step.name).select(step.columns).match(step.arguments);
}

let clients: Map<string, SupabaseClient> | undefined;
const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream());
let rest = "";
for await (const text of lines) {
  const [last = "", ...whole] = (rest + text).split("\n").reverse();
  rest = last;
  for (const line of whole.reverse()) {
    const said = JSON.parse(line);
    if (!clients) {
      const callers = Object.entries(said as Record<string, Caller>);
      clients = new Map(
        await Promise.all(
          callers.map(async ([name, caller]) => [name, await signedIn(caller)] as const),
        ),
      );
      continue;
    }
    const { data, error, status } = await ask(clients.get(said.who)!, said);
    console.log(JSON.stringify({ value: data, code: error?.code ?? null, status }));
  }
}
