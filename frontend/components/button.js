import { cx, html } from "../dom.js";
import { Icon } from "./icon.js";

/**
 * A button, or with `href` a link that looks like one.
 * @param {{
 *   children?: import("../dom.js").Children, look?: "primary" | "plain" | "ghost" | "danger", icon?: string, busy?: boolean,
 *   disabled?: boolean, href?: string, download?: string | boolean, onClick?: (event: MouseEvent) => void, type?: "button" | "submit",
 *   label?: string, small?: boolean, wide?: boolean, id?: string, pressed?: boolean,
 * }} props `label` names a button that shows an icon alone.
 */
export function Button({
  children, look = "plain", icon, busy, disabled, href, download, onClick, type = "button", label, small, wide, id, pressed,
}) {
  const bare = children === undefined || children === null;
  const names = cx("button", `button-${look}`, small && "button-small", wide && "button-wide", bare && "button-bare");
  const inside = html`${busy ? html`<span class="spinner" aria-hidden="true"></span>` : icon && html`<${Icon} name=${icon} size=${small ? 16 : 18} />`}
    ${!bare && html`<span>${children}</span>`}`;
  if (href) {
    return html`<a class=${names} href=${href} download=${download} onClick=${onClick} aria-label=${label} title=${bare ? label : undefined}>${inside}</a>`;
  }
  return html`<button class=${names} id=${id} type=${type} disabled=${disabled || busy} aria-busy=${busy ? "true" : undefined}
    aria-pressed=${pressed} onClick=${onClick} aria-label=${label} title=${bare ? label : undefined}>${inside}</button>`;
}
