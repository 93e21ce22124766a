/** What someone has set up in the studio, and the render request that follows from it. */
import { createStore } from "./store.js";

/** @typedef {import("./components/geometry.js").Quad} Quad */
/** @typedef {import("./shapes.js").Picture} Picture */

/**
 * Numbers are null where the preset's value holds.
 * @typedef {{
 *   style: string | null, mode: "image" | "text", design: Picture | null, brief: string,
 *   garment: Picture | null, quad: Quad | null, widthMm: string,
 *   preset: "flat" | "raised" | null, variations: number, seed: string,
 *   quality: "draft" | "final", strength: number | null, guidance: number | null, edge: number | null, tile: number | null, colourFix: boolean | null,
 * }} Setup
 */

/** @type {Pick<Setup, "quality" | "strength" | "guidance" | "edge" | "tile" | "colourFix" | "preset" | "seed">} */
export const UNTUNED = { quality: "final", strength: null, guidance: null, edge: null, tile: null, colourFix: null, preset: null, seed: "" };

export const setup = createStore(
  /** @type {Setup} */ ({
    style: null, mode: "image", design: null, brief: "", garment: null, quad: null, widthMm: "", variations: 1, ...UNTUNED,
  }),
);

/** @param {Partial<Setup>} fields */
export const set = (fields) => setup.set((now) => ({ ...now, ...fields }));

/** The render that the studio shows. */
export const current = createStore(/** @type {string | null} */ (null));

export const BRIEF_LIMIT = 500;

/** What is still missing before a preview can be made, as a sentence; null when nothing is. @param {Setup} now */
export function missing(now) {
  if (!now.style) return "Choose a style first.";
  if (now.mode === "image" && !now.design) return "Add a design first.";
  if (now.mode === "text" && !now.brief.trim()) return "Describe the design first.";
  return null;
}

/**
 * The body of POST /v1/renders. Only what differs from the preset is sent, so that a preset can get better later.
 * @param {Setup} now @returns {Record<string, unknown>}
 */
export function bodyOf(now) {
  const control = { ...(now.edge === null ? {} : { edge: now.edge }), ...(now.tile === null ? {} : { tile: now.tile }) };
  const seed = now.seed.trim() === "" ? null : Number(now.seed);
  const width = Number(now.widthMm);
  return {
    style: now.style,
    input: now.mode === "image" ? { type: "image", image: now.design?.id } : { type: "text", brief: now.brief.trim() },
    variations: now.variations,
    quality: now.quality,
    ...(now.garment && now.quad
      ? { garment: { image: now.garment.id, placement: { quad: now.quad.map(([x, y]) => [round(x), round(y)]) }, ...(width > 0 ? { width_mm: width } : {}) } }
      : {}),
    ...(now.preset ? { preset: now.preset } : {}),
    ...(seed !== null && Number.isInteger(seed) ? { seed } : {}),
    ...(now.strength === null ? {} : { strength: now.strength }),
    ...(now.guidance === null ? {} : { guidance: now.guidance }),
    ...(Object.keys(control).length ? { control } : {}),
    ...(now.colourFix === null ? {} : { colour_fix: now.colourFix }),
  };
}

/** @param {number} value */
const round = (value) => Math.round(value * 10) / 10;

const KEPT = ["garment", "steps", "strength", "guidance", "preset", "control", "colour_fix", "quality", "size", "variations"];

/**
 * The request that makes a render once more, with a seed of its own.
 * @param {import("./shapes.js").Render} render @param {string | null} style
 * @returns {Record<string, unknown>}
 */
export function bodyAgain(render, style) {
  const given = render.input;
  /** @type {Record<string, unknown>} */
  const body = { style, input: given["input"], seed: crypto.getRandomValues(new Uint32Array(1))[0] };
  for (const name of KEPT) {
    if (given[name] !== null && given[name] !== undefined) body[name] = given[name];
  }
  if (body["garment"]) body["garment"] = garmentAgain(/** @type {Record<string, unknown>} */ (body["garment"]));
  return body;
}

/** A resolved garment also tells the corners that follow from its placement; a request does not take them. @param {Record<string, unknown>} garment */
const garmentAgain = ({ image, placement, width_mm }) => ({ image, placement, ...(width_mm ? { width_mm } : {}) });
