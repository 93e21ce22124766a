/** A style's report, from figures into sentences. Figures that this page does not know are left to the technical details. */

import { duration } from "./words.js";

/** @typedef {{ good: boolean, text: string }} Finding */

/** @param {Record<string, unknown>} report @param {...string} path @returns {number | null} */
function figure(report, ...path) {
  /** @type {unknown} */
  let value = report;
  for (const name of path) {
    value = typeof value === "object" && value !== null ? /** @type {Record<string, unknown>} */ (value)[name] : undefined;
  }
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** @param {number} share */
const percent = (share) => `${Math.round(share * 100)} %`;

/**
 * How much of the way from the flat design to the real embroidery a figure of difference has gone, 0 to 1.
 * @param {Record<string, unknown>} metrics @param {string} name
 */
function gone(metrics, name) {
  const now = figure(metrics, name);
  const before = figure(metrics, `${name}_of_design`);
  return now === null || before === null || before <= 0 ? null : Math.max(0, 1 - now / before);
}

/** @param {unknown} value @returns {Record<string, unknown>} */
const part = (value) => (typeof value === "object" && value !== null && !Array.isArray(value) ? /** @type {Record<string, unknown>} */ (value) : {});

/**
 * What the worker measured, see worker/engine/train.py: the pair's own design, drawn in the style, against the photo.
 * @param {Record<string, unknown>} report
 * @returns {Finding[]}
 */
export function findings(report) {
  /** @type {Finding[]} */
  const list = [];
  const metrics = part(report["metrics"]);
  const texture = gone(metrics, "log_gabor_distance");
  if (texture !== null) {
    list.push(
      texture > 0.5
        ? { good: true, text: `The stitches come close: drawn anew in this style, the motif goes ${percent(texture)} of the way from a flat drawing to your photo's texture.` }
        : texture > 0.2
          ? { good: true, text: `The stitches are recognisable: ${percent(texture)} of the way from a flat drawing to your photo's texture.` }
          : { good: false, text: `The stitches were hardly caught: ${percent(texture)} of the way from a flat drawing to your photo's texture. A sharper or closer photo may help.` },
    );
  }
  const colours = figure(metrics, "histogram_distance_to_design");
  if (colours !== null) {
    list.push(
      colours < 0.35
        ? { good: true, text: "Designs keep their colours." }
        : { good: false, text: "Colours wander somewhat from the design's. “Keep the design's exact colours” in the studio holds them." },
    );
  }
  const left = figure(report, "pair", "high_frequency_ratio") ?? figure(report, "pair", "hf_ratio");
  if (left !== null) {
    list.push(
      left < 0.35
        ? { good: true, text: `The flat design is clean: ${percent(left)} of the photo's fine structure is left in it, mostly at its edges.` }
        : { good: false, text: `The flat design still holds ${percent(left)} of the photo's fine structure. The original artwork would make the style more exact.` },
    );
  }
  const seconds = Object.values(part(report["seconds"])).reduce((/** @type {number} */ sum, value) => sum + (typeof value === "number" ? value : 0), 0);
  if (seconds > 0) list.push({ good: true, text: `Learning took ${duration(seconds)}.` });
  const practice = Array.isArray(report["complementary"]) ? report["complementary"].filter((caption) => typeof caption === "string") : [];
  if (practice.length) list.push({ good: true, text: `Hoop practised on designs of its own: ${practice.slice(0, 4).join(", ")}.` });
  return list;
}

/**
 * Every figure of the report as [name, value], nested names joined by dots, for the technical details.
 * @param {Record<string, unknown>} report @param {string} [prefix] @returns {[string, string][]}
 */
export function figures(report, prefix = "") {
  return Object.entries(report).flatMap(([name, value]) => {
    const path = prefix ? `${prefix}.${name}` : name;
    if (typeof value === "number") return [[path, String(Math.round(value * 1e4) / 1e4)]];
    if (name === "similarity" || name === "losses") return [];
    if (typeof value === "string" || typeof value === "boolean") return [[path, String(value)]];
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      return figures(/** @type {Record<string, unknown>} */ (value), path);
    }
    return [];
  });
}
