/** What Hoop's API sends, as guards; the types of the whole page follow from these. */
import { anything, boolean, list, maybe, number, object, record, string, withDefault, word } from "./guard.js";

/** @template G @typedef {import("./guard.js").Infer<G>} Infer */

const warning = object({ code: withDefault(string, ""), message: string });

const warnings = withDefault(list(warning), []);

/**
 * An address of a picture or file. Ours come absolute, under the name the server believes to have; behind a proxy or a phone's
 * view of the network that may be another one than the page's, so they are read as paths of this very origin.
 * @type {import("./guard.js").Guard<string>}
 */
export const address = (value, path) => {
  const text = string(value, path);
  const url = new URL(text, location.origin);
  return /^\/(media|v1|s)\//.test(url.pathname) ? url.pathname + url.search : text;
};

export const image = object({
  id: string,
  purpose: withDefault(string, ""),
  width: number,
  height: number,
  url: address,
  warnings,
});
/** @typedef {Infer<typeof image>} Picture */

export const JOB_WORDS = /** @type {const} */ ([
  "queued", "starting", "processing", "succeeded", "failed", "canceled", "expired",
]);
const jobWord = word(...JOB_WORDS);
/** @typedef {(typeof JOB_WORDS)[number]} JobWord */

export const progress = object({
  stage: maybe(string),
  step: withDefault(number, 0),
  total: withDefault(number, 0),
  eta_s: maybe(number),
  preview_url: maybe(address),
});
/** @typedef {Infer<typeof progress>} Progress */

const noProgress = { stage: null, step: 0, total: 0, eta_s: null, preview_url: null };

const failure = object({ type: withDefault(string, ""), title: withDefault(string, ""), detail: withDefault(string, "") });

export const job = object({
  id: string,
  kind: string,
  status: jobWord,
  target: maybe(string),
  cancel_requested: withDefault(boolean, false),
  queue_position: maybe(number),
  progress: withDefault(progress, noProgress),
  attempt: withDefault(number, 0),
  error: maybe(failure),
  created_at: maybe(string),
  started_at: maybe(string),
  finished_at: maybe(string),
});
/** @typedef {Infer<typeof job>} Job */

const sides = object({
  embroidery_url: maybe(address),
  design_url: maybe(address),
  builder: withDefault(string, ""),
});

export const pair = object({
  id: string,
  status: string,
  builder: withDefault(string, "flatten"),
  embroidery_url: maybe(address),
  design_url: maybe(address),
  report: withDefault(record, {}),
  warnings,
  job: maybe(string),
  error: maybe(failure),
});
/** @typedef {Infer<typeof pair>} Pair */

const sample = object({
  url: address,
  prompt: maybe(string),
  design_url: maybe(address),
  width: withDefault(number, 0),
  height: withDefault(number, 0),
});
/** @typedef {Infer<typeof sample>} Sample */

const adapter = object({ sha256: maybe(string), bytes: maybe(number), url: maybe(address), rank: maybe(number) });

export const style = object({
  id: string,
  name: string,
  status: word("training", "ready", "failed", "canceled"),
  pair: maybe(sides),
  preset: maybe(string),
  base: maybe(string),
  caption: maybe(string),
  seed: maybe(number),
  blocks: withDefault(list(anything), []),
  adapter: maybe(adapter),
  report: withDefault(record, {}),
  samples: withDefault(list(sample), []),
  reference_image: string,
  reference_url: maybe(address),
  artwork_image: maybe(string),
  more_images: withDefault(list(string), []),
  job: maybe(string),
  error: maybe(failure),
  demo: withDefault(boolean, false),
  created_at: maybe(string),
});
/** @typedef {Infer<typeof style>} Style */

const output = object({
  index: number,
  seed: maybe(number),
  patch_url: address,
  garment_url: maybe(address),
  design_url: maybe(address),
  width: number,
  height: number,
});
/** @typedef {Infer<typeof output>} Output */

export const render = object({
  id: string,
  style: string,
  status: jobWord,
  input: withDefault(record, {}),
  design_url: maybe(address),
  outputs: withDefault(list(output), []),
  warnings,
  job: maybe(string),
  error: maybe(failure),
  created_at: maybe(string),
});
/** @typedef {Infer<typeof render>} Render */

const approval = object({ render: maybe(string), index: maybe(number), name: maybe(string), note: maybe(string) });

export const share = object({
  id: string,
  url: maybe(string),
  style: maybe(string),
  render: maybe(string),
  may: withDefault(list(string), []),
  expires_at: maybe(string),
  revoked_at: maybe(string),
  approved_at: maybe(string),
  approval: maybe(approval),
  created_at: maybe(string),
});
/** @typedef {Infer<typeof share>} Share */

/** What a customer's link shows: of a style no more than its name, pair and samples. */
export const shared = object({
  kind: word("style", "render"),
  shop: object({ name: string }),
  style: maybe(object({ id: string, name: string, status: string, pair: maybe(sides), samples: withDefault(list(sample), []) })),
  render: maybe(render),
  may: withDefault(list(string), []),
  expires_at: maybe(string),
  approved_at: maybe(string),
  approval: maybe(approval),
});
/** @typedef {Infer<typeof shared>} Shared */

const used = object({ open_jobs: number, gpu_seconds: number, storage_bytes: number });
export const usage = object({
  days: list(object({ day: string, gpu_seconds: number, renders: number, trainings: number })),
  used,
  quotas: used,
});

const numbers = object({
  steps: number, strength: number, guidance: number, control: object({ edge: number, tile: number }), colour_fix: boolean,
});
export const bases = object({
  data: list(object({ name: string, title: withDefault(string, ""), default: withDefault(boolean, false),
    pair_builders: withDefault(list(string), ["artwork", "flatten"]), most_photos: withDefault(number, 1),
    defaults: object({ flat: numbers, raised: numbers, text: numbers }) })),
});
/** @typedef {Infer<typeof bases>["data"][number]} Base */
/** What a render starts from, by preset. @typedef {Infer<typeof bases>["data"][number]["defaults"]} Defaults */

export const me = object({
  shop: object({ id: string, name: string }),
  user: maybe(object({ email: withDefault(string, "") })),
});
/** @typedef {Infer<typeof me>} Me */

/**
 * One page of a list, newest first; `next_cursor` is null on the last.
 * @template T @param {import("./guard.js").Guard<T>} item
 */
export const page = (item) => object({ data: list(item), next_cursor: maybe(string) });

/**
 * The warnings inside a report; none when it has none.
 * @param {Record<string, unknown>} report
 */
export const warningsIn = (report) => warnings(report["warnings"], "report.warnings");
