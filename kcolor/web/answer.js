/** A worker's side of `ask`. */

/**
 * @typedef {(progress: number) => void} Tell How much is done, 0 to 1.
 * @typedef {(given: any, tell: Tell) => Promise<any>} Operation
 */

/**
 * @param {{ id: number, operation: string, given: unknown }} question
 * @param {Record<string, Operation>} operations
 * @param {(message: object) => void} post
 */
export async function answer({ id, operation, given }, operations, post) {
  try {
    const value = await operations[operation](given, (progress) => post({ id, progress }));
    post({ id, value });
  } catch (error) {
    const { name, message, constructor } = /** @type {Error} */ (error);
    post({ id, error: message || name, kind: constructor.name });
  }
}
