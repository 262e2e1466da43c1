/** The media types of answers. */

import { ApiError } from "./errors.ts";

export interface Format {
  /** Whether the one row is wanted as an object. */
  isObject: boolean;
  /** Whether keys that are null are left out. */
  stripNulls: boolean;
  contentType: string;
}

const JSON_TYPES = ["application/json", "application/*", "*/*"];
const PGRST_TYPES: Record<string, boolean> = {
  "application/vnd.pgrst.object+json": true,
  "application/vnd.pgrst.object": true,
  "application/vnd.pgrst.array+json": false,
  "application/vnd.pgrst.array": false,
};

/**
 * Chooses the first acceptable type.
 *
 * @throws {ApiError} PGRST107: there is none.
 */
export function readFormat(accept: string | null): Format {
  const wanted = (accept ?? "*/*").split(",").map((part) => part.trim());
  for (const part of wanted) {
    const [type, ...parameters] = part.split(";").map((piece) => piece.trim());
    if (JSON_TYPES.includes(type)) {
      const contentType = "application/json; charset=utf-8";
      return { isObject: false, stripNulls: false, contentType };
    }
    if (type in PGRST_TYPES) {
      const stripNulls = parameters.includes("nulls=stripped");
      const isObject = PGRST_TYPES[type];
      const kind = `application/vnd.pgrst.${isObject ? "object" : "array"}+json`;
      const contentType = `${kind}${stripNulls ? ";nulls=stripped" : ""}; charset=utf-8`;
      return { isObject, stripNulls, contentType };
    }
  }
  throw new ApiError(
    406,
    "PGRST107",
    `None of these media types are available: ${wanted.join(", ")}`,
  );
}
