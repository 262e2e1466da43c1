/** Which function is called, and the SQL that calls it. */

import type { DatabaseFunction, Parameter } from "./catalog.ts";
import { ApiError } from "./errors.ts";

/** What a request sends: a JSON text, values by name as text, or one value as it is. */
export type Payload =
  | { kind: "json"; text: string; names: string[] }
  | { kind: "texts"; values: [string, string][] }
  | { kind: "raw"; text: string };

/** A piece of SQL and the values of its parameters, all of them text. */
export interface Sql {
  text: string;
  values: string[];
}

export function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

function namesOf(payload: Payload): string[] {
  switch (payload.kind) {
    case "json":
      return payload.names;
    case "texts":
      return [...new Set(payload.values.map(([name]) => name))];
    case "raw":
      return [];
  }
}

/**
 * Chooses among the functions of one name the one that takes these arguments: all it requires and
 * none it does not know; else the one whose single unnamed parameter takes the body as a whole.
 *
 * @throws {ApiError} PGRST202: none does; PGRST203: several do.
 */
export function choose(
  candidates: DatabaseFunction[],
  schema: string,
  name: string,
  payload: Payload,
): DatabaseFunction {
  const given = namesOf(payload);
  const byName = payload.kind === "raw" ? [] : candidates.filter((f) => takes(f, given));
  const matching = byName.length > 0 ? byName : candidates.filter((f) => takesWhole(f, payload));
  if (matching.length === 1) return matching[0];
  if (matching.length === 0) throw unknownFunction(schema, name, given, payload);
  const described = matching.map((f) =>
    `${schema}.${name}(${f.parameters.map((p) => `${p.name} => ${p.type}`).join(", ")})`
  );
  throw new ApiError(
    300,
    "PGRST203",
    `Could not choose the best candidate function between: ${described.join(", ")}`,
    null,
    "Try renaming the parameters or the function itself in the database so function overloading " +
      "can be resolved",
  );
}

function takes({ parameters }: DatabaseFunction, given: string[]): boolean {
  return given.every((name) => name !== "" && parameters.some((p) => p.name === name)) &&
    parameters.every((p) => !p.isRequired || given.includes(p.name));
}

function takesWhole({ parameters }: DatabaseFunction, payload: Payload): boolean {
  if (parameters.length !== 1 || parameters[0].name !== "") return false;
  const { type } = parameters[0];
  return payload.kind === "raw"
    ? type === "text"
    : payload.kind === "json" && ["json", "jsonb"].includes(type);
}

function unknownFunction(
  schema: string,
  name: string,
  given: string[],
  payload: Payload,
): ApiError {
  const sorted = [...given].sort();
  const listed = sorted.join(", ");
  const parameters = sorted.length > 1 ? `parameters ${listed}` : `parameter ${listed}`;
  const searched = {
    json: `${listed ? ` with ${parameters}` : " without parameters"} or with a single unnamed ` +
      "json/jsonb parameter",
    texts: listed ? ` with ${parameters}` : " without parameters",
    raw: " with a single unnamed text parameter",
  }[payload.kind];
  const called = payload.kind === "raw" ? "" : listed ? `(${listed})` : " without parameters";
  return new ApiError(
    404,
    "PGRST202",
    `Could not find the function ${schema}.${name}${called} in the schema cache`,
    `Searched for the function ${schema}.${name}${searched}, but no matches were found in the ` +
      "schema cache.",
  );
}

/** The select that calls the function; its rows are those of the answer. */
export function callSql(f: DatabaseFunction, payload: Payload): Sql {
  const { source, args, values } = argumentsSql(f, payload);
  const call = `${quote(f.schema)}.${quote(f.name)}(${args})`;
  const beside = source === "" ? "" : `${source}, lateral `;
  return {
    text: f.returns === "composite"
      ? `select result.* from ${beside}${call} as result`
      : `select result.value from ${beside}(select ${call} as value) as result`,
    values,
  };
}

interface Arguments {
  source: string;
  args: string;
  values: string[];
}

function argumentsSql(f: DatabaseFunction, payload: Payload): Arguments {
  if (payload.kind === "texts") return textArguments(f, payload.values);
  if (f.parameters.length === 1 && f.parameters[0].name === "") {
    return { source: "", args: `$1::text::${f.parameters[0].type}`, values: [payload.text] };
  }
  if (payload.kind === "raw") return { source: "", args: "", values: [] };
  const given = f.parameters.filter((p) => payload.names.includes(p.name));
  if (given.length === 0) return { source: "", args: "", values: [] };
  // Postgres reads the values, so that none passes through a JavaScript number. The parameter is
  // text on purpose: the driver would encode a JSON one a second time.
  const columns = given.map((p) => `${quote(p.name)} ${p.type}`).join(", ");
  return {
    source: `pg_catalog.json_to_record($1::text::json) as body (${columns})`,
    args: given.map((p) => named(p, `body.${quote(p.name)}`)).join(", "),
    values: [payload.text],
  };
}

function textArguments(f: DatabaseFunction, given: [string, string][]): Arguments {
  const values: string[] = [];
  const parameter = (text: string) => `$${values.push(text)}::text`;
  const args = f.parameters.flatMap((p) => {
    const texts = given.filter(([name]) => name === p.name).map(([, text]) => text);
    if (texts.length === 0) return [];
    // Repeated for a variadic parameter it is an array, otherwise the last one counts.
    const value = p.isVariadic
      ? `array[${texts.map(parameter).join(", ")}]::${p.type}`
      : `${parameter(texts[texts.length - 1])}::${p.type}`;
    return [named(p, value)];
  });
  return { source: "", args: args.join(", "), values };
}

function named(p: Parameter, value: string): string {
  return `${p.isVariadic ? "variadic " : ""}${quote(p.name)} => ${value}`;
}
