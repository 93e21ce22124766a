/** Short news at the edge of the screen, read out by screen readers. */
import { html } from "../dom.js";
import { createStore, useStore } from "../store.js";
import { Icon } from "./icon.js";
import { sentence } from "./notice.js";

/** @typedef {{ id: number, text: string, kind: "good" | "error" }} Toast */

const toasts = createStore(/** @type {Toast[]} */ ([]));
let count = 0;

/** @param {string} text @param {"good" | "error"} [kind] */
export function tell(text, kind = "good") {
  const id = (count += 1);
  toasts.set((now) => [...now.slice(-2), { id, text, kind }]);
  setTimeout(() => toasts.set((now) => now.filter((toast) => toast.id !== id)), kind === "error" ? 9000 : 4500);
}

/** @param {unknown} error */
export function tellError(error) {
  if (error instanceof DOMException && error.name === "AbortError") return;
  tell(sentence(error).text, "error");
}

export function Toasts() {
  const now = useStore(toasts);
  return html`<div class="toasts" role="status" aria-live="polite">
    ${now.map((toast) => html`<div class=${`toast toast-${toast.kind}`} key=${toast.id}>
      <${Icon} name=${toast.kind === "good" ? "check" : "alert"} size=${18} /><span>${toast.text}</span>
    </div>`)}
  </div>`;
}
