/** The few assertions the tests need; a package would have to be fetched. */

import { deepStrictEqual } from "node:assert";

export function assertEquals<T>(found: T, expected: unknown): void {
  deepStrictEqual(found, expected);
}

/** Returns the code of the error that `work` ends with. */
export async function codeOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}
