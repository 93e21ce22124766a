/** Line icons on a 24 px grid, drawn for this page. */
import { html } from "../dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  styles: "M4 5h7v7H4zM13 5h7v4h-7zM13 12h7v7h-7zM4 15h7v4H4z",
  studio: "M4 20l4.5-1.2L20 7.3a1.8 1.8 0 0 0 0-2.6l-.7-.7a1.8 1.8 0 0 0-2.6 0L5.2 15.5zM14.5 6.2l3.3 3.3M4 20l1.2-4.5",
  previews: "M4 5h16v14H4zM4 15.5l4.2-4.2 4 4 2.8-2.8L20 17.5M15.5 9.2h.01",
  activity: "M4 12h3.5l2.5-7 4 14 2.5-7H20",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5v4M9 15v4",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  back: "M14.5 5.5L8 12l6.5 6.5",
  next: "M9.5 5.5L16 12l-6.5 6.5",
  upload: "M12 15.5V4.5M7.5 9L12 4.5 16.5 9M4.5 15.5v4h15v-4",
  download: "M12 4.5v11M7.5 11l4.5 4.5 4.5-4.5M4.5 15.5v4h15v-4",
  camera: "M4 8h3.2l1.6-2.5h6.4L16.8 8H20v11H4zM12 16.5a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4z",
  share: "M12 14V3.5M8 7.2l4-3.7 4 3.7M6.5 11H5v9.5h14V11h-1.5",
  link: "M10 14a4 4 0 0 0 5.7 0l3-3a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7 0l-3 3A4 4 0 0 0 11 18.7l1-1",
  trash: "M5 7h14M9.5 7V4.5h5V7M7 7l.8 12.5h8.4L17 7M10.2 10.5v5.5M13.8 10.5v5.5",
  pen: "M5 19l3.8-.9L19 7.9 16.1 5 5.9 15.2z",
  repeat: "M5 11a7 7 0 0 1 12-4.4L19.5 9M19.5 4.5V9H15M19 13a7 7 0 0 1-12 4.4L4.5 15M4.5 19.5V15H9",
  check: "M5 12.5l4.5 4.5L19 7.5",
  alert: "M12 4l9 15.5H3zM12 10v4.2M12 16.8h.01",
  info: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17zM12 11v5.5M12 7.8h.01",
  stop: "M7 7h10v10H7z",
  zoom: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13zM15.2 15.2L20 20M10.5 8v5M8 10.5h5",
  shirt: "M8.5 4L4 6.5 5.5 11l2-.7V20h9V10.3l2 .7L20 6.5 15.5 4a3.5 3.5 0 0 1-7 0z",
  text: "M5 6.5V5h14v1.5M12 5v14M9.5 19h5",
  picture: "M4 5h16v14H4zM4 15.5l4.2-4.2 4 4 2.8-2.8L20 17.5",
  sliders: "M5 6h14M5 12h14M5 18h14M9 4v4M15 10v4M8 16v4",
  copy: "M8.5 8.5h11v11h-11zM15.5 8.5v-4h-11v11h4",
  needle: "M20 4L9.5 14.5M20 4c-2.5.3-4 1-5 2.5M17.5 6.5l-.4.4M9.5 14.5c-2 2-1 4-3 5-1 .5-2.5.3-2.5-1 0-1.5 2-1.8 3-.8",
  logout: "M10 5H5v14h5M14 8l4 4-4 4M18 12H9.5",
  more: "M6 12h.01M12 12h.01M18 12h.01",
};

/** @param {{ name: string, size?: number }} props */
export function Icon({ name, size = 20 }) {
  return html`<svg class="icon" width=${size} height=${size} viewBox="0 0 24 24" fill="none" stroke="currentColor"
    stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true" focusable="false">
    <path d=${PATHS[name] ?? ""} />
  </svg>`;
}

/** The mark: a hoop with the screw that tightens it, and one cross stitch. @param {{ size?: number }} props */
export function Mark({ size = 28 }) {
  return html`<svg class="mark" width=${size} height=${size} viewBox="0 0 32 32" fill="none" stroke-linecap="round" aria-hidden="true" focusable="false">
    <g transform="rotate(38 16 17)">
      <circle class="mark-hoop" cx="16" cy="18" r="11.5" stroke-width="2.4" />
      <path class="mark-hoop" d="M14 6.3V3.4M18 6.3V3.4" stroke-width="2" />
      <path class="mark-hoop" d="M11.8 3.9h9" stroke-width="1.8" />
    </g>
    <circle class="mark-cloth" cx="15.4" cy="17.8" r="8.2" stroke-width="1.2" />
    <path class="mark-under" d="M11.8 21.4l7.2-7.2" stroke-width="2.8" />
    <path class="mark-over" d="M11.8 14.2l7.2 7.2" stroke-width="2.8" />
  </svg>`;
}
