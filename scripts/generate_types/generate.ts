/** Prints what `supabase gen types` would: DATABASE_URL and the schemas are said by the caller. */

import { generateTypescript, sortGeneratorMetadata } from "@supabase/postgrest-typegen/generation";
import { introspect } from "@supabase/postgrest-typegen/introspection";
import pg from "pg";

const client = new pg.Client({ connectionString: Deno.env.get("DATABASE_URL") });
await client.connect();
try {
  const metadata = await introspect(client, { includedSchemas: Deno.args });
  console.log(await generateTypescript(sortGeneratorMetadata(metadata)));
} finally {
  await client.end();
}
