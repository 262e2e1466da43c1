import { ApiError, fromPostgres, statusOf } from "@gateway/errors.ts";
import { readFormat } from "@gateway/format.ts";
import { Keys } from "@gateway/keys.ts";
import { readPreferences } from "@gateway/preferences.ts";
import { readSelection, splitQuery } from "@gateway/selection.ts";
import { requestSettings, settingsSql } from "@gateway/settings.ts";
import { assertEquals, codeOf } from "./assert.ts";

Deno.test("the status goes by the code, its class, and for 42501 by who asks", () => {
  for (
    const [code, role, status] of [
      ["TS402", "anon", 400],
      ["42501", "anon", 401],
      ["42501", "authenticated", 403],
      ["23505", "anon", 409],
      ["40P01", "anon", 500],
      ["PT418", "anon", 418],
      ["PTxxx", "anon", 500],
      ["P0001", "anon", 400],
      ["P0002", "anon", 500],
    ] as const
  ) {
    assertEquals(statusOf(code, "", role), status);
  }
  assertEquals(statusOf("22023", 'role "x" does not exist', "x"), 401);
});

Deno.test("an error of Postgres keeps its four texts", async () => {
  const raised = Object.assign(new Error("m"), { code: "TS404", severity: "ERROR", detail: "{}" });
  const response = fromPostgres(raised, "anon").response();
  assertEquals(await response.json(), { code: "TS404", details: "{}", hint: null, message: "m" });
  assertEquals(response.status, 400);
});

Deno.test("media types", async () => {
  assertEquals(readFormat(null).isObject, false);
  assertEquals(readFormat("text/html, application/vnd.pgrst.object+json").isObject, true);
  assertEquals(readFormat("application/vnd.pgrst.array+json;nulls=stripped").stripNulls, true);
  assertEquals(await codeOf(() => readFormat("text/csv")), "PGRST107");
});

Deno.test("preferences", async () => {
  const zones = new Set(["Europe/Berlin"]);
  const read = (header: string) => readPreferences(header, zones);
  assertEquals(read("count=exact, timezone=Europe/Berlin"), {
    countAll: true,
    maxAffected: null,
    timeZone: "Europe/Berlin",
    applied: "count=exact, timezone=Europe/Berlin",
  });
  assertEquals(read("max-affected=3").maxAffected, null);
  assertEquals(read("handling=strict,max-affected=3").maxAffected, 3);
  assertEquals(read("handling=lenient, handling=strict, foo").applied, "handling=lenient");
  assertEquals(await codeOf(() => read("handling=strict, timezone=Nowhere")), "PGRST122");
});

Deno.test("a query string is arguments and filters", () => {
  const { args, filters } = splitQuery(
    new URLSearchParams("p_id=1&cost=gt.1&p_name=a.b&select=id&x=not.is.null&apikey=k"),
  );
  assertEquals(args, [["p_id", "1"], ["p_name", "a.b"]]);
  assertEquals(filters, [["cost", "gt.1"], ["x", "not.is.null"]]);
});

Deno.test("values of a selection are parameters, names are quoted", async () => {
  const columns = { id: "bigint", 'we"ird': "text" };
  const f = { name: "f", columns } as unknown as Parameters<typeof readSelection>[0];
  const select = (query: string, filters: [string, string][] = []) => {
    const values: string[] = [];
    const selection = readSelection(
      f,
      new URLSearchParams(query),
      filters,
      { header: null, maxRows: 1000 },
      (text) => `$${values.push(text)}::text`,
    );
    return { ...selection, values };
  };
  assertEquals(select("select=id,key:id::text&order=id.desc.nullslast&limit=2&offset=1"), {
    columns: '"id" as "id", cast("id" as text) as "key"',
    where: "",
    order: 'order by "id" desc nulls last',
    page: "limit 2 offset 1",
    offset: 1,
    values: [],
  });
  const filtered = select("", [["id", "in.(1,2)"], ['we"ird', "not.eq.'; drop table x; --"]]);
  assertEquals(
    filtered.where,
    'and ("id" in ($1::text::bigint, $2::text::bigint)) ' +
      'and not ("we""ird" = $3::text::text)',
  );
  assertEquals(filtered.values, ["1", "2", "'; drop table x; --"]);
  assertEquals(select("").page, "limit 1000 offset 0");
  assertEquals(select("limit=2000").page, "limit 1000 offset 0");
  for (const query of ["select=a;b", "select=a(b)", "order=id;x", "limit=1;x", "or=(a.eq.1)"]) {
    assertEquals(await codeOf(() => select(query)), "PGRST100");
  }
  assertEquals(await codeOf(() => select("limit=-1")), "PGRST103");
  assertEquals(await codeOf(() => select("", [["nope", "eq.1"]])), "42703");
});

Deno.test("the settings of a request are one statement", () => {
  const request = new Request("http://h/rest/v1/rpc/f?a=b", { headers: { cookie: "a=b=c" } });
  const settings = requestSettings(request, { role: "anon", sub: "x" }, '"s"');
  const [text, values] = settingsSql(settings);
  assertEquals(text.match(/set_config/g)?.length, settings.length);
  assertEquals(values.slice(0, 4), ["search_path", '"s"', "role", "anon"]);
  assertEquals(Object.fromEntries(settings)["request.path"], "/rpc/f");
  assertEquals(Object.fromEntries(settings)["request.cookies"], '{"a":"b=c"}');
});

Deno.test("keys", async () => {
  const config = { publishableKey: "sb_publishable_x", secretKey: "sb_secret_x", jwtSecret: "s" };
  const keys = new Keys(config);
  const claims = (headers: Record<string, string>) =>
    keys.claims(new Request("http://h/", { headers }));
  assertEquals(await claims({ apikey: "sb_publishable_x" }), { role: "anon" });
  assertEquals(await claims({ apikey: "sb_secret_x" }), { role: "service_role" });
  assertEquals(await keys.ofKey("sb_secret_y"), null);
  assertEquals(await codeOf(() => claims({})), "UNAUTHORIZED_MISSING_API_KEY");
  assertEquals(await codeOf(() => claims({ apikey: "a.b.c" })), "PGRST301");
  const refused = new ApiError(401, "x", "y").response();
  assertEquals(refused.status, 401);
});
