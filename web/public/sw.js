/* Keeps the page itself, so that it opens while the server or the network is away: what was read before is then shown
 * from IndexedDB. Nothing of the API goes through here.
 *
 * The page is asked of the server first, and the kept one is only for when there is no answer; its files have names that
 * change with their content, so a kept one is as good as the server's.
 */

const CACHE = "headwater-page-1";
const BASE = new URL("./", self.location.href);
/** Enough for the files of two builds. */
const MOST_FILES = 200;

self.addEventListener("install", (event) => {
  event.waitUntil(keepPage().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(self.clients.claim());
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== "GET" || origin !== BASE.origin) return;
  if (request.mode === "navigate" && pathname === BASE.pathname) event.respondWith(newest(request));
  else if (pathname.startsWith(`${BASE.pathname}assets/`)) event.respondWith(kept(request));
});

/** What the page has loaded, be it before this worker was there: it tells. */
self.addEventListener("message", (event) => {
  if (event.data?.kind === "loaded") event.waitUntil(Promise.all(event.data.files.filter(isFile).map(kept)));
});

const isFile = (address) => address.startsWith(new URL("assets/", BASE).href);

async function keepPage() {
  const cache = await caches.open(CACHE);
  const page = await fetch(BASE);
  if (page.ok && !page.redirected) await cache.put(BASE, page);
}

async function newest(request) {
  const cache = await caches.open(CACHE);
  try {
    const page = await fetch(request);
    if (page.ok && !page.redirected) await cache.put(BASE, page.clone());
    return page;
  } catch (error) {
    const old = await cache.match(BASE);
    if (old) return old;
    throw error;
  }
}

async function kept(request) {
  const cache = await caches.open(CACHE);
  const old = await cache.match(request);
  if (old) return old;
  const file = await fetch(request);
  if (file.ok) {
    await cache.put(request, file.clone());
    const names = await cache.keys();
    for (const name of names.slice(0, Math.max(0, names.length - MOST_FILES))) await cache.delete(name);
  }
  return file;
}
