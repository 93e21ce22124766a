import { html, useState } from "../dom.js";

/**
 * Before and after in one frame. The divider is a range input over the whole frame: it works by mouse, touch and arrow keys,
 * and a screen reader tells how much of which side shows.
 * @param {{ before: string, after: string, beforeLabel?: string, afterLabel?: string, ratio?: string }} props
 */
export function Compare({ before, after, beforeLabel = "Design", afterLabel = "Embroidery", ratio = "1 / 1" }) {
  const [share, setShare] = useState(50);
  /** @param {{ currentTarget: { value: string } }} event */
  const input = (event) => setShare(Number(event.currentTarget.value));
  return html`<figure class="compare" style=${{ "--share": `${share}%`, aspectRatio: ratio }}>
    <img class="compare-after" src=${after} alt=${afterLabel} draggable=${false} />
    <img class="compare-before" src=${before} alt=${beforeLabel} draggable=${false} />
    <span class="compare-line" aria-hidden="true"><span class="compare-grip"></span></span>
    <figcaption aria-hidden="true"><span class=${share < 12 ? "gone" : ""}>${beforeLabel}</span><span class=${share > 88 ? "gone" : ""}>${afterLabel}</span></figcaption>
    <input type="range" min="0" max="100" step="1" value=${share} onInput=${input} aria-label=${`${beforeLabel} or ${afterLabel.toLowerCase()}`}
      aria-valuetext=${`${share} percent ${beforeLabel.toLowerCase()}, ${100 - share} percent ${afterLabel.toLowerCase()}`} />
  </figure>`;
}
