/** Embroidery and flat design side by side, before anything is learnt from them. */
import { html, useEffect, useState } from "../dom.js";
import { createPair, getPair } from "../hoop.js";
import { isOver, useJob } from "../live.js";
import { warningsIn } from "../shapes.js";
import { Failure, Notice, Warnings } from "./notice.js";
import { Plate } from "./picture.js";
import { JobProgress } from "./stitches.js";

/** @typedef {import("../shapes.js").Pair} Pair */

/**
 * The two halves of a pair.
 * @param {{ embroidery: string | null, design: string | null, onOpen?: (index: number) => void }} props
 */
export function Halves({ embroidery, design, onOpen }) {
  return html`<div class="halves">
    <figure><${Plate} src=${embroidery} alt="The embroidery, cut out of the photo" onOpen=${onOpen && (() => onOpen(0))} /><figcaption>Embroidery</figcaption></figure>
    <span class="halves-seam" aria-hidden="true"></span>
    <figure><${Plate} src=${design} alt="The same motif as a flat design" onOpen=${onOpen && (() => onOpen(1))} /><figcaption>Flat design</figcaption></figure>
  </div>`;
}

/**
 * Asks for the pair of the given pictures and follows it; asks anew when one of them changes.
 * @param {import("../draft.js").Draft} draft
 */
export function usePair({ photo, artwork, builder, base, caption }) {
  // Only a model that draws reads what the photo shows.
  const words = builder === "diffusion" ? caption : "";
  const key = photo ? `${photo.id} ${builder === "artwork" ? artwork?.id : ""} ${builder} ${base} ${words}` : "";
  const [state, setState] = useState({ key: "", pair: /** @type {Pair | null} */ (null), error: /** @type {unknown} */ (null) });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!photo || (builder === "artwork" && !artwork)) return;
    let gone = false;
    setState({ key, pair: null, error: null });
    createPair({
      reference_image: photo.id, builder, ...(base ? { base } : {}), ...(words ? { caption: words } : {}),
      ...(builder === "artwork" && artwork ? { artwork_image: artwork.id } : {}),
    }).then(
      (pair) => gone || setState({ key, pair, error: null }),
      (error) => gone || setState({ key, pair: null, error }),
    );
    return () => { gone = true; };
  }, [key, round]);

  const pair = state.key === key ? state.pair : null;
  const settled = pair ? isOver(pair) : false;
  const { job, link, error: lost } = useJob(pair && !settled ? pair.job : null);
  const over = job ? isOver(job) : false;
  useEffect(() => {
    if (!over || !pair) return;
    let gone = false;
    getPair(pair.id).then(
      (fresh) => gone || setState({ key, pair: fresh, error: null }),
      (error) => gone || setState({ key, pair: null, error }),
    );
    return () => { gone = true; };
  }, [over, pair?.id]);
  return {
    pair, job, link, error: state.key === key ? (state.error ?? lost) : null,
    ready: pair?.status === "succeeded",
    again: () => setRound((now) => now + 1),
  };
}

/** @param {{ state: ReturnType<typeof usePair>, photo: import("../shapes.js").Picture }} props */
export function PairReview({ state, photo }) {
  const { pair, job, link, error, ready, again } = state;
  if (error) return html`<${Failure} error=${error} retry=${again} />`;
  if (pair && isOver(pair) && !ready) {
    const why = pair.error?.detail ?? job?.error?.detail ?? "The embroidery and its design could not be told apart in this photo.";
    return html`<${Failure} error=${new Error(why)} retry=${again} />`;
  }
  if (!pair || !ready) {
    return html`<${JobProgress} compact job=${job} kind="pair" link=${link} title="Separating the stitches from the design" fallback=${photo.url} />`;
  }
  const notes = [...pair.warnings, ...warningsIn(pair.report)];
  const seen = new Set();
  const unique = notes.filter(({ message }) => !seen.has(message) && seen.add(message));
  return html`<div class="pair">
    <${Halves} embroidery=${pair.embroidery_url} design=${pair.design_url} />
    <${Warnings} warnings=${unique} />
    ${unique.length === 0 && html`<${Notice} kind="good">The photo is sharp enough, and the embroidery stands out well.<//>`}
  </div>`;
}
