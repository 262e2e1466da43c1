import { readJson, readNumber, readTime, types, withoutRounding } from "@gateway/numbers.ts";
import { assertEquals } from "./assert.ts";

Deno.test("a number that JavaScript has is one", () => {
  assertEquals(readNumber("1.5"), 1.5);
  assertEquals(readNumber("-7"), -7);
});

Deno.test("every other number is written as it was read", () => {
  for (const text of ["1.50", "9007199254740993", "0.1000000000000000000001", "-0.0"]) {
    assertEquals(JSON.stringify({ value: readNumber(text) }), `{"value":${text}}`);
  }
});

Deno.test("what JSON has no number for is text", () => {
  assertEquals(readNumber("NaN"), "NaN");
  assertEquals(readNumber("-Infinity"), "-Infinity");
});

Deno.test("JSON keeps its numbers", () => {
  const text = '{"a":[1.50,{"b":9007199254740993}],"c":"1.50","d":1e-7,"e":null}';
  assertEquals(JSON.stringify(readJson(text)), text);
});

Deno.test("values of columns that would be rounded become text, others stay", () => {
  const isJson = (column: string) => column === "o";
  assertEquals(
    withoutRounding('[{"id":9007199254740993,"n":2.5,"a":[1,1.50]}]', isJson),
    '[{"id":"9007199254740993","n":2.5,"a":[1,"1.50"]}]',
  );
  assertEquals(
    withoutRounding('{"id":1.50,"t":"x","u":null}', isJson),
    '{"id":"1.50","t":"x","u":null}',
  );
});

Deno.test("a column that is JSON gets the JSON that was written", () => {
  const isJson = (column: string) => column === "o";
  for (const text of ['{"p":[1.50]}', "[9007199254740993]", "1.50"]) {
    const { o } = JSON.parse(withoutRounding(`{"o":${text}}`, isJson));
    assertEquals(types.jsonb.serialize(o), text);
  }
  assertEquals(withoutRounding('{"o":{"p":[1.5]}}', isJson), '{"o":{"p":[1.5]}}');
});

Deno.test("times are ISO 8601", () => {
  assertEquals(readTime("2026-01-02 03:04:05.6+00"), "2026-01-02T03:04:05.6+00:00");
  assertEquals(readTime("2026-01-02 03:04:05-03:30"), "2026-01-02T03:04:05-03:30");
  assertEquals(readTime("infinity"), "infinity");
});
