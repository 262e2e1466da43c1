import { callSql, choose, type Payload, quote } from "@gateway/call.ts";
import type { DatabaseFunction } from "@gateway/catalog.ts";
import { assertEquals, codeOf } from "./assert.ts";

function f(parameters: string[], more: Partial<DatabaseFunction> = {}): DatabaseFunction {
  return {
    schema: "s",
    name: "f",
    isVolatile: false,
    returnsSet: false,
    returns: "scalar",
    columns: {},
    settings: [],
    parameters: parameters.map((text) => {
      const [, variadic, name, type, optional] = /^(\.\.\.)?(\w*):(\w+(?:\[\])?)(\?)?$/.exec(text)!;
      return { name, type, isRequired: !optional, isVariadic: variadic !== undefined };
    }),
    ...more,
  };
}

const json = (value: object): Payload => ({
  kind: "json",
  text: JSON.stringify(value),
  names: Object.keys(value),
});

Deno.test("identifiers are quoted", () => assertEquals(quote('a"b'), '"a""b"'));

Deno.test("the function that takes the arguments is chosen", () => {
  const [none, one, two] = [f([]), f(["a:int"]), f(["a:int", "b:int?"])];
  assertEquals(choose([none, one], "s", "f", json({})), none);
  assertEquals(choose([none, two], "s", "f", json({ a: 1 })), two);
  assertEquals(choose([one, two], "s", "f", json({ a: 1, b: 2 })), two);
});

Deno.test("arguments by name come before the body as a whole", () => {
  const [whole, named] = [f([":json"]), f(["a:int"])];
  assertEquals(choose([whole, named], "s", "f", json({ a: 1 })), named);
  assertEquals(choose([whole, named], "s", "f", json({ b: 1 })), whole);
});

Deno.test("none and several are refused", async () => {
  const [one, other] = [f(["a:int"]), f(["a:text"])];
  assertEquals(await codeOf(() => choose([one], "s", "f", json({ b: 1 }))), "PGRST202");
  assertEquals(await codeOf(() => choose([one], "s", "f", json({}))), "PGRST202");
  assertEquals(await codeOf(() => choose([one, other], "s", "f", json({ a: 1 }))), "PGRST203");
});

Deno.test("a JSON body is read by Postgres", () => {
  assertEquals(callSql(f(["a:int", "b:text?"]), json({ a: 1 })), {
    text: "select result.value from " +
      'pg_catalog.json_to_record($1::text::json) as body ("a" int), ' +
      'lateral (select "s"."f"("a" => body."a") as value) as result',
    values: ['{"a":1}'],
  });
});

Deno.test("texts are cast to the parameters' types, repeated ones of a variadic are an array", () => {
  const values: [string, string][] = [["a", "1"], ["b", "x"], ["b", "y"]];
  assertEquals(callSql(f(["a:int", "...b:text[]"]), { kind: "texts", values }), {
    text: 'select result.value from (select "s"."f"("a" => $1::text::int, ' +
      'variadic "b" => array[$2::text, $3::text]::text[]) as value) as result',
    values: ["1", "x", "y"],
  });
});

Deno.test("a composite is spread into its columns", () => {
  assertEquals(callSql(f([], { returns: "composite" }), json({})), {
    text: 'select result.* from "s"."f"() as result',
    values: [],
  });
});
