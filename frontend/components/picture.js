import { cx, html, useState } from "../dom.js";
import { Icon } from "./icon.js";

/**
 * A picture on woven cloth. It fades in when loaded and can be asked for again when it did not come.
 * @param {{ src: string | null | undefined, alt: string, onOpen?: () => void, fit?: "cover" | "contain", ratio?: string, lazy?: boolean }} props `ratio` "auto" is the picture's own.
 */
export function Plate({ src, alt, onOpen, fit = "contain", ratio = "1 / 1", lazy }) {
  const [round, setRound] = useState(0);
  const [news, setNews] = useState({ of: "", state: /** @type {"there" | "broken"} */ ("there") });
  // What is known of another picture says nothing about this one: it loads.
  const key = `${round} ${src}`;
  const state = !src ? "none" : news.of === key ? news.state : "loading";
  const names = cx("plate", `plate-${fit}`, `plate-${state}`);
  const shape = ratio === "auto" && state === "there" ? {} : { aspectRatio: ratio === "auto" ? "1 / 1" : ratio };
  if (state === "broken") {
    return html`<div class=${names} style=${shape}>
      <button class="plate-again" type="button" onClick=${() => setRound(round + 1)}><${Icon} name="repeat" />The picture did not load. Try again</button>
    </div>`;
  }
  const inside = html`${src && html`<img key=${key} src=${src} alt=${alt} loading=${lazy ? "lazy" : undefined} decoding="async" draggable=${false}
      onLoad=${() => setNews({ of: key, state: "there" })} onError=${() => setNews({ of: key, state: "broken" })} />`}
    ${onOpen && state === "there" && html`<span class="plate-zoom"><${Icon} name="zoom" size=${18} /></span>`}`;
  if (onOpen) {
    return html`<button type="button" class=${names} style=${shape} onClick=${onOpen} aria-label=${`Enlarge: ${alt}`}>${inside}</button>`;
  }
  return html`<div class=${names} style=${shape}>${inside}</div>`;
}
