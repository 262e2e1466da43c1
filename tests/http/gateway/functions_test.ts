import { dispatch, loadFunctions } from "@gateway/functions.ts";
import { assertEquals } from "./assert.ts";

const FILES: Record<string, string> = {
  "served/index.ts": "Deno.serve((request) => new Response(request.method));",
  "with-options/index.ts": "Deno.serve({ port: 1 }, () => new Response('options'));",
  "exported/index.ts": "export default { fetch: () => new Response('exported') };",
  "thrower/index.ts": "Deno.serve(() => { throw new Error('no'); });",
  "broken/index.ts": "throw new Error('does not start');",
  "_shared/index.ts": "Deno.serve(() => new Response('shared'));",
};

Deno.test("every function of a folder is served under its name", async () => {
  const folder = await Deno.makeTempDir();
  const silent = console.error;
  console.error = () => {};
  try {
    for (const [path, text] of Object.entries(FILES)) {
      await Deno.mkdir(`${folder}/${path.split("/")[0]}`);
      await Deno.writeTextFile(`${folder}/${path}`, text);
    }
    const serve = Deno.serve;
    const handlers = await loadFunctions(new URL(`file://${folder}/`));
    assertEquals(Deno.serve, serve);
    const ask = async (path: string) => {
      const response = await dispatch(handlers, new Request(`http://h/${path}`));
      return [response.status, await response.text()];
    };
    assertEquals(await ask("served/and/more?x=y"), [200, "GET"]);
    assertEquals(await ask("with-options"), [200, "options"]);
    assertEquals(await ask("exported"), [200, "exported"]);
    assertEquals((await ask("thrower"))[0], 500);
    assertEquals((await ask("broken"))[0], 503);
    assertEquals((await ask("_shared"))[0], 404);
    assertEquals((await ask("absent"))[0], 404);
  } finally {
    console.error = silent;
    await Deno.remove(folder, { recursive: true });
  }
});
