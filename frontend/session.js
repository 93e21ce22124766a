/** Who is looking at the page, and how the page looks to them. */
import { Problem, refusals, rememberKey } from "./api.js";
import { getMe, logout } from "./hoop.js";
import { createStore } from "./store.js";

/** @typedef {{ state: "asking" } | { state: "out", error: unknown } | { state: "in", me: import("./shapes.js").Me }} Session */

export const session = createStore(/** @type {Session} */ ({ state: "asking" }));

/** Asks the server who we are; anything but "not signed in" is shown and can be tried again. */
export async function identify() {
  try {
    session.set({ state: "in", me: await getMe() });
  } catch (error) {
    session.set({ state: "out", error: error instanceof Problem && error.status === 401 ? null : error });
  }
}

refusals.subscribe(() => session.get().state === "in" && identify());

/** @param {string} key Thrown back when the server does not know it. */
export async function signInWithKey(key) {
  rememberKey(key);
  try {
    session.set({ state: "in", me: await getMe() });
  } catch (error) {
    rememberKey(null);
    throw error;
  }
}

export async function signOut() {
  await logout().catch(() => {
    // A session that has already ended is signed out as well.
  });
  rememberKey(null);
  session.set({ state: "out", error: null });
}

/** @typedef {"system" | "light" | "dark"} Theme */
const THEME = "hoop.theme";
const saved = localStorage.getItem(THEME);
export const theme = createStore(/** @type {Theme} */ (saved === "light" || saved === "dark" ? saved : "system"));

function dress() {
  const now = theme.get();
  if (now === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = now;
  localStorage.setItem(THEME, now);
}
theme.subscribe(dress);
dress();
