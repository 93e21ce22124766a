import { html } from "../dom.js";
import { statusWord } from "../words.js";

/** @param {{ status: string }} props */
export const Status = ({ status }) =>
  html`<span class=${`status status-${status}`}><span class="status-dot" aria-hidden="true"></span>${statusWord(status)}</span>`;
