/**
 * Keeps the page for use without a network: its own files when it is installed, the network and what runs it when they
 * are first fetched. All of one version, which stands in this script's own URL, so that another one is another script.
 */

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const PREFIX = `kcolor ${new URL(worker.registration.scope).pathname} `;
const CACHE = PREFIX + new URL(worker.location.href).searchParams.get("version");
// What the page cannot start without. Tests hold this to what there is.
const FILES = [
  "./",
  "answer.js",
  "ask.js",
  "card.js",
  "config.json",
  "engine-worker.js",
  "engine.js",
  "header.js",
  "icon.svg",
  "join.js",
  "jpeg.js",
  "lab.js",
  "main.js",
  "manifest.webmanifest",
  "offline.js",
  "photo-worker.js",
  "planes.js",
  "png.js",
  "style.css",
  "upsample.js",
];

worker.addEventListener("install", (event) => {
  const install = async () => {
    const cache = await caches.open(CACHE);
    // "no-cache" asks whether what the browser has is still what there is: all is to be of one version.
    await cache.addAll(FILES.map((file) => new Request(file, { cache: "no-cache" })));
    await worker.skipWaiting();
  };
  event.waitUntil(install());
});

worker.addEventListener("activate", (event) => {
  const activate = async () => {
    const former = (await caches.keys()).filter((name) => name.startsWith(PREFIX) && name !== CACHE);
    await Promise.all(former.map((name) => caches.delete(name)));
    await worker.clients.claim();
  };
  event.waitUntil(activate());
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(worker.registration.scope)) return;
  const path = request.url.slice(worker.registration.scope.length).replace(/[?#].*$/, "");
  if (path === "config.json") event.respondWith(newest(request));
  else if (isOurs(path)) event.respondWith(kept(request));
});

/** @param {string} path Not of all that the server may have to say is it true that it stays. */
function isOurs(path) {
  return FILES.includes(path || "./") || path.startsWith("runtime/") || path.endsWith(".tflite");
}

/** @param {Request} request */
async function kept(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
  return found ?? fetchedInto(cache, request);
}

/** @param {Request} request What says of which version all else is. */
async function newest(request) {
  const cache = await caches.open(CACHE);
  try {
    return await fetchedInto(cache, request);
  } catch (error) {
    const found = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
    if (found) return found;
    throw error;
  }
}

/** @param {Cache} cache @param {Request} request */
async function fetchedInto(cache, request) {
  const response = await fetch(request.mode === "navigate" ? request : new Request(request, { cache: "no-cache" }));
  if (response.status === 200) await cache.put(request, response.clone());
  return response;
}
