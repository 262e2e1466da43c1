/**
 * Filters of a query string, with what a library would take for numbers and words of JavaScript put
 * in quotes, which make it text: 9007199254740993 is another number there, 007 is 7 and no longer the
 * same name, and true is no text. What Postgres gets is then what was written.
 */

const COMPARISONS = "eq|neq|gt|gte|lt|lte|match|imatch|cs|cd|ov";
const QUOTED = String.raw`"(?:\\.|[^"\\])*"`;

const FILTER = new RegExp(
  String.raw`^((?:not\.)?(?:${COMPARISONS})(?:\((?:any|all)\))?\.)(.*)$`,
  "s",
);
const LIST = new RegExp(String.raw`^((?:not\.)?in\.\()(.*)(\))$`, "s");
const BRANCHES = new RegExp(
  [
    QUOTED,
    String
      .raw`([^(),"]+?)(\.(?:not\.)?(?:${COMPARISONS})(?:\((?:any|all)\))?\.)([^(),"{}]*|{[^{}]*})(?=[,)])`,
    String.raw`([^(),"]+?)(\.(?:not\.)?in\.\()((?:${QUOTED}|[^()"])*)(?=\))`,
  ].join("|"),
  "gs",
);
const ELEMENTS = new RegExp(`${QUOTED}|[^,"]+`, "gs");

/** Puts values in quotes; words (true, null) only where the column is text. */
export function asWritten(
  query: URLSearchParams,
  isText: (column: string) => boolean,
): URLSearchParams {
  return new URLSearchParams(
    [...query].map(([name, value]) => [
      name,
      /(^|\.)(and|or)$/.test(name)
        ? inTree(value, isText)
        : inFilter(value, holdsText(name, isText)),
    ]),
  );
}

/** `->>` is text, `->` is JSON. */
function holdsText(column: string, isText: (column: string) => boolean): boolean {
  const path = column.lastIndexOf("->");
  return path === -1 ? isText(column) : column.startsWith("->>", path);
}

function inFilter(filter: string, isText: boolean): string {
  return filter
    .replace(FILTER, (_, start, value) => start + inValue(value, isText))
    .replace(LIST, (_, start, list, end) => start + inList(list, isText) + end);
}

function inTree(tree: string, isText: (column: string) => boolean): string {
  return tree.replace(BRANCHES, (all, column, operator, value, listed, operatorIn, list) => {
    if (column !== undefined) return column + operator + inValue(value, holdsText(column, isText));
    if (listed !== undefined) return listed + operatorIn + inList(list, holdsText(listed, isText));
    return all;
  });
}

function inValue(value: string, isText: boolean): string {
  if (!/^{.*}$/s.test(value)) return inQuotes(value, isText);
  return isJson(value) ? value : `{${inArray(value.slice(1, -1), isText)}}`;
}

function inList(list: string, isText: boolean): string {
  return list.replace(
    ELEMENTS,
    (element) => element.startsWith('"') ? element : inQuotes(element, isText),
  );
}

/** In a literal of an array a bare null is none. */
function inArray(list: string, isText: boolean): string {
  return list.replace(
    ELEMENTS,
    (element) => /^"|^\s*null\s*$/i.test(element) ? element : inQuotes(element, isText),
  );
}

function inQuotes(value: string, isText: boolean): string {
  const isNumber = value.trim() !== "" && !Number.isNaN(Number(value));
  const isWord = /^(true|false|null|not_null|unknown)$/i.test(value.trim());
  return isNumber || (isWord && isText) ? `"${value}"` : value;
}

function isJson(value: string): boolean {
  try {
    JSON.parse(value);
    return true;
  } catch {
    return false;
  }
}
