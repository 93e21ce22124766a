/** Numbers, times and status words as people say them. */

/** @param {number} seconds */
export const left = (seconds) => (seconds < 10 ? "a few seconds left" : `about ${duration(seconds)} left`);

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 55) return `${Math.round(seconds / 5) * 5} seconds`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return minutes <= 1 ? "a minute" : `${minutes} minutes`;
  const hours = Math.round(minutes / 6) / 10;
  return hours === 1 ? "an hour" : `${hours} hours`;
}

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const UNITS = [["year", 31536000], ["month", 2592000], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]];

/** @param {string | null} iso */
export function ago(iso) {
  if (!iso) return "";
  const seconds = (Date.parse(iso) - Date.now()) / 1000;
  if (Number.isNaN(seconds)) return "";
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return "just now";
}

/** @param {string | null} iso */
export const moment = (iso) =>
  iso ? new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso)) : "";

/** @param {string | null} iso */
export const day = (iso) => (iso ? new Intl.DateTimeFormat("en", { dateStyle: "long" }).format(new Date(iso)) : "");

/** @param {number} bytes */
export function size(bytes) {
  const [unit, divisor] = bytes < 1e6 ? ["KB", 1e3] : bytes < 1e9 ? ["MB", 1e6] : ["GB", 1e9];
  const value = bytes / /** @type {number} */ (divisor);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** @type {Record<string, string>} */
const STATUS = {
  queued: "Waiting",
  starting: "Starting",
  processing: "Working",
  training: "Learning",
  succeeded: "Done",
  ready: "Ready",
  failed: "Failed",
  canceled: "Stopped",
  expired: "Expired",
};
/** @param {string} status */
export const statusWord = (status) => STATUS[status] ?? status;

/** @type {Record<string, { kind: string, stages: [string, string][] }>} */
const JOBS = {
  train: {
    kind: "Learning a style",
    stages: [
      ["prepare", "Preparing the photo"],
      ["pair", "Separating stitch from design"],
      ["stage_one", "Learning the stitches"],
      ["complement", "Making practice pieces"],
      ["stage_two", "Refining on practice pieces"],
      ["samples", "Stitching samples"],
    ],
  },
  render: {
    kind: "Preview",
    stages: [
      ["prepare", "Preparing the design"],
      ["diffuse", "Stitching"],
      ["decode", "Developing the picture"],
      ["place", "Placing it on the garment"],
    ],
  },
  pair: {
    kind: "Pair review",
    stages: [["prepare", "Preparing the photo"], ["pair", "Separating stitch from design"]],
  },
};

/** @param {string} kind */
export const jobWord = (kind) => JOBS[kind]?.kind ?? kind;
/** The stages of a kind of job, in order: [name, words]. @param {string} kind */
export const stagesOf = (kind) => JOBS[kind]?.stages ?? [];

/** @type {Record<string, string>} */
const BUILDERS = {
  flatten: "Flattened from the photo",
  artwork: "Your own artwork",
  diffusion: "Redrawn by the model",
};
/** @param {string} builder */
export const builderWord = (builder) => BUILDERS[builder] ?? builder;
