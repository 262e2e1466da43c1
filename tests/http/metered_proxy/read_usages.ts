/** Reads answers from the standard input and prints the token classes of each. */

import { readUsage } from "../../../supabase/functions/metered-proxy/usage.ts";

const answers = JSON.parse(await new Response(Deno.stdin.readable).text());
console.log(JSON.stringify(answers.map(readUsage)));
