/**
 * The generated types, with one thing they cannot know: a numeric argument may be text, and money
 * should be, as a number of JavaScript has no room for all its decimals.
 *
 * What is read as money is exact when it is asked for as text: `select("cost::text")`.
 */

import type { Database as Generated } from "./database.types.ts";

export type { Json } from "./database.types.ts";

type OrText<Arguments> = {
  [Name in keyof Arguments]: NonNullable<Arguments[Name]> extends number ? Arguments[Name] | string
    : Arguments[Name];
};

type Exact<Functions> = {
  [Name in keyof Functions]: Functions[Name] extends { Args: infer Arguments }
    ? Omit<Functions[Name], "Args"> & { Args: OrText<Arguments> }
    : Functions[Name];
};

export type Database = {
  [Schema in keyof Generated]: Omit<Generated[Schema], "Functions"> & {
    Functions: Exact<Generated[Schema]["Functions"]>;
  };
};
