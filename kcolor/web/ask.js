/** Questions to a worker, and its answers. A worker that breaks is replaced by a new one. */

import { PhotoError } from "./header.js";

/** @typedef {{ resolve: (value: any) => void, reject: (error: Error) => void, onProgress?: Progress }} Waiting */
/** @typedef {(progress: number) => void} Progress How much is done, 0 to 1. */
/** @typedef {(operation: string, given: object, onProgress?: Progress) => Promise<any>} Ask */

/**
 * @param {() => Worker} start
 * @returns {Ask}
 */
export function asking(start) {
  /** @type {Worker | null} */
  let worker = null;
  let last = 0;
  /** @type {Map<number, Waiting>} */
  const waiting = new Map();

  function running() {
    if (worker) return worker;
    worker = start();
    worker.onmessage = ({ data: { id, progress, value, error, kind } }) => {
      const asked = waiting.get(id);
      if (!asked) return;
      if (progress !== undefined) {
        asked.onProgress?.(progress);
        return;
      }
      waiting.delete(id);
      if (error === undefined) asked.resolve(value);
      else asked.reject(kind === "PhotoError" ? new PhotoError(error) : new Error(error));
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      worker?.terminate();
      worker = null;
      for (const { reject } of waiting.values()) reject(new Error(event.message || "the worker could not be started"));
      waiting.clear();
    };
    return worker;
  }

  return (operation, given, onProgress) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject, onProgress });
      running().postMessage({ id: last, operation, given });
    });
}
