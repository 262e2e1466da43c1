import { asWritten, readJson, readNumber, readTime, withoutRounding } from "@gateway/numbers.ts";
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
  assertEquals(
    withoutRounding('[{"id":9007199254740993,"n":2.5,"o":{"p":1.50}}]'),
    '[{"id":"9007199254740993","n":2.5,"o":{"p":1.50}}]',
  );
  assertEquals(withoutRounding('{"id":1.50,"t":"x","u":null}'), '{"id":"1.50","t":"x","u":null}');
});

Deno.test("filters have the text of the query string", () => {
  const query = new URLSearchParams("id=eq.9007199254740993&name=not.in.(1.50,2)&n=eq.3");
  const where = { id: { $eq: 9007199254740992 }, name: { $notIn: [1.5, 2] }, n: { $eq: 3 } };
  assertEquals(asWritten(where, query), {
    id: { $eq: "9007199254740993" },
    name: { $notIn: ["1.50", "2"] },
    n: { $eq: "3" },
  });
  const tree = new URLSearchParams("or=(id.eq.9007199254740993,p.is.null)");
  assertEquals(
    asWritten({ $or: [{ id: { $eq: 9007199254740992 } }, { p: { $is: null } }] }, tree),
    {
      $or: [{ id: { $eq: "9007199254740993" } }, { p: { $is: null } }],
    },
  );
});

Deno.test("times are ISO 8601", () => {
  assertEquals(readTime("2026-01-02 03:04:05.6+00"), "2026-01-02T03:04:05.6+00:00");
  assertEquals(readTime("2026-01-02 03:04:05-03:30"), "2026-01-02T03:04:05-03:30");
  assertEquals(readTime("infinity"), "infinity");
});
