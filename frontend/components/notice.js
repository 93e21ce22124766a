/** Sentences about what went wrong, what to watch out for, and what is not there yet. */
import { Offline, Problem } from "../api.js";
import { html } from "../dom.js";
import { ShapeError } from "../guard.js";
import { Button } from "./button.js";
import { Icon } from "./icon.js";

/** @param {unknown} error @returns {{ title: string, text: string }} */
export function sentence(error) {
  // The title names the kind of problem; the detail says the same of this very case, and says it whole.
  if (error instanceof Problem) return { title: "", text: error.message };
  if (error instanceof Offline) return { title: "No connection", text: error.message };
  if (error instanceof ShapeError) {
    return { title: "Unexpected answer", text: `${error.message} Page and server may be of different versions: reload the page.` };
  }
  return { title: "Something went wrong", text: error instanceof Error ? error.message : String(error) };
}

/**
 * @param {{ kind?: "error" | "warning" | "info" | "good", title?: string, children?: import("../dom.js").Children, action?: import("../dom.js").Children }} props
 */
export function Notice({ kind = "info", title, children, action }) {
  const icon = kind === "error" || kind === "warning" ? "alert" : kind === "good" ? "check" : "info";
  return html`<div class="notice notice-${kind}" role=${kind === "error" ? "alert" : undefined}>
    <${Icon} name=${icon} size=${18} />
    <div class="notice-text">${title && html`<strong>${title}</strong>`}<div>${children}</div></div>
    ${action && html`<div class="notice-action">${action}</div>`}
  </div>`;
}

/** @param {{ error: unknown, retry?: (() => void) | null }} props */
export function Failure({ error, retry }) {
  if (!error) return null;
  const { title, text } = sentence(error);
  const again = retry ? html`<${Button} small onClick=${retry}>Try again<//>` : null;
  return html`<${Notice} kind="error" title=${title} action=${again}>${text}<//>`;
}

/** @param {{ warnings: { code: string, message: string }[] }} props */
export function Warnings({ warnings }) {
  if (!warnings.length) return null;
  return html`<ul class="warnings" aria-label="Please note">
    ${warnings.map((item) => html`<li><${Icon} name="alert" size=${16} /><span>${item.message}</span></li>`)}
  </ul>`;
}

/**
 * What stands where a list would be.
 * @param {{ title: string, children?: import("../dom.js").Children, action?: import("../dom.js").Children }} props
 */
export function Empty({ title, children, action }) {
  return html`<div class="empty">
    <svg class="empty-hoop" viewBox="0 0 120 120" aria-hidden="true">
      <g transform="rotate(38 60 62)">
        <circle cx="60" cy="66" r="46" class="empty-ring" />
        <path d="M52 20V8M68 20V8M42 11h36" class="empty-ring empty-screw" />
      </g>
      <circle cx="57" cy="64" r="38" class="empty-cloth" />
      <path d="M35 68c8-18 18-18 22-4s14 14 22-4" class="empty-thread" />
    </svg>
    <h2>${title}</h2>
    <p>${children}</p>
    ${action && html`<div class="empty-action">${action}</div>`}
  </div>`;
}

/** Grey places of what is being loaded. @param {{ count?: number, kind?: "card" | "row" | "page" }} props */
export function Loading({ count = 6, kind = "card" }) {
  const places = Array.from({ length: kind === "page" ? 1 : count });
  return html`<div class=${`loading loading-${kind}`} role="status">
    <span class="unseen">Loading</span>
    ${places.map(() => html`<div class="skeleton"></div>`)}
  </div>`;
}
