import { asWritten } from "@gateway/filters.ts";
import { assertEquals } from "./assert.ts";

/** The column t is text. */
function written(query: string): string {
  return decodeURIComponent(
    asWritten(new URLSearchParams(query), (column) => column === "t").toString(),
  );
}

Deno.test("numbers in filters are text, each by itself", () => {
  for (
    const [query, expected] of [
      ["limit=007&t=eq.7", 'limit=007&t=eq."7"'],
      ["t=in.(007,7,x)", 't=in.("007","7",x)'],
      ["n=eq.0&t=eq.-0", 'n=eq."0"&t=eq."-0"'],
      ["t=not.eq.1.50&t=match.5", 't=not.eq."1.50"&t=match."5"'],
      ["t=not.in.(0x10,1e3)", 't=not.in.("0x10","1e3")'],
      ["t=eq(any).{1,2}", 't=eq(any).{"1","2"}'],
      ["t=eq.1.2.3&t=eq.&t=like.7&t=is.null", "t=eq.1.2.3&t=eq.&t=like.7&t=is.null"],
    ]
  ) {
    assertEquals(written(query), expected);
  }
});

Deno.test("words are text where the column is", () => {
  for (
    const [query, expected] of [
      ["t=eq.true&b=eq.true", 't=eq."true"&b=eq.true'],
      ["t=neq.NULL&n=eq.null", 't=neq."NULL"&n=eq.null'],
      ["t=cs.{true,null}", 't=cs.{"true",null}'],
      ["t=in.(true,null)&b=in.(true)", 't=in.("true","null")&b=in.(true)'],
      ["j->>a=eq.true&j->a=eq.true", 'j->>a=eq."true"&j->a=eq.true'],
    ]
  ) {
    assertEquals(written(query), expected);
  }
});

Deno.test("so are they in the branches of a tree", () => {
  for (
    const [query, expected] of [
      ["or=(id.eq.9007199254740993,p.is.null)", 'or=(id.eq."9007199254740993",p.is.null)'],
      ["or=(t.eq.1.5,t.not.eq.1.50)", 'or=(t.eq."1.5",t.not.eq."1.50")'],
      [
        "and=(t.eq.true,or(b.eq.true,t.in.(007,null)))",
        'and=(t.eq."true",or(b.eq.true,t.in.("007","null")))',
      ],
      ['or=(t.eq."a,t.eq.7",t.in.("1,2",3))', 'or=(t.eq."a,t.eq.7",t.in.("1,2","3"))'],
      ["not.or=(t.eq.7,t.like.7)", 'not.or=(t.eq."7",t.like.7)'],
    ]
  ) {
    assertEquals(written(query), expected);
  }
});

Deno.test("JSON and what is in quotes stay as they are", () => {
  for (
    const query of ['j=cs.{"a":[1,2,3]}', 't=eq."7"', 't=in.("7","a\\",3")', "select=t,n&order=n"]
  ) {
    assertEquals(written(query), query);
  }
});
