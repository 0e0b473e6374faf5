/** The page without a network: a service worker keeps what it is made of. See sw.js. */

// How long the page waits for it before it loads the network all the same, which then may be fetched twice.
const PATIENCE = 4000;

/**
 * @param {string} version Of all that is kept; what it is of another version is fetched anew.
 * @returns {Promise<boolean>} Whether what the page loads from now on is kept.
 */
export async function keep(version) {
  if (!version || !("serviceWorker" in navigator)) return false;
  const { serviceWorker } = navigator;
  const url = new URL(`sw.js?version=${encodeURIComponent(version)}`, document.baseURI).href;
  const former = serviceWorker.controller;
  if (former?.scriptURL === url) return true;
  const controlled = new Promise((resolve) => {
    serviceWorker.addEventListener("controllerchange", () => resolve(true), { once: true });
    setTimeout(() => resolve(false), PATIENCE);
  });
  try {
    await serviceWorker.register(url);
  } catch {
    return false; // in a private window, or where the page is not from a secure place
  }
  const kept = /** @type {boolean} */ (await controlled);
  // The page itself is of the former version; nothing has been done in it so far.
  if (kept && former) location.reload();
  return kept;
}
