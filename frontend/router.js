/** Addresses live behind the hash (#/styles/sty_…?x=y), so that any static file server can serve the page. */
import { createStore, useStore } from "./store.js";

/** @typedef {{ parts: string[], query: URLSearchParams, path: string }} Route */

/** @returns {Route} */
function read() {
  const [path = "", search = ""] = location.hash.replace(/^#/, "").split("?", 2);
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, query: new URLSearchParams(search), path: `/${parts.join("/")}` };
}

const route = createStore(read());
addEventListener("hashchange", () => route.set(read()));

export const useRoute = () => useStore(route);

/** @param {string} path For example "/studio?style=sty_1". */
export function go(path) {
  location.hash = path;
}

/** Changes the address without a step in the history. @param {string} path */
export function replace(path) {
  history.replaceState(null, "", `#${path}`);
  route.set(read());
}
