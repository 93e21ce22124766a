/** Progress of a job: a seam that is sewn stitch by stitch, the stages under it, and how long it may still take. */
import { cx, html, useRef } from "../dom.js";
import { isOver } from "../live.js";
import { left, stagesOf } from "../words.js";
import { Plate } from "./picture.js";

/** How much of the work each stage is, by kind of job: the shares that the worker's own estimate starts from. @type {Record<string, Record<string, number>>} */
const WEIGHTS = {
  train: { prepare: 1, pair: 2, stage_one: 50, complement: 12, stage_two: 29, samples: 6 },
  render: { prepare: 5, diffuse: 80, decode: 10, place: 5 },
  pair: { prepare: 40, pair: 60 },
};

/**
 * Share of the whole job that is done, 0 to 1.
 * @param {import("../shapes.js").Job} job
 */
export function shareDone(job) {
  if (job.status === "succeeded") return 1;
  const stages = stagesOf(job.kind);
  const at = stages.findIndex(([name]) => name === job.progress.stage);
  if (at < 0) return 0;
  const weights = stages.map(([name]) => WEIGHTS[job.kind]?.[name] ?? 1);
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const before = weights.slice(0, at).reduce((sum, weight) => sum + weight, 0);
  const { step, total } = job.progress;
  return (before + (weights[at] ?? 1) * (total > 0 ? Math.min(1, step / total) : 0)) / whole;
}

/** @param {import("../shapes.js").Job} job */
export function stageWords(job) {
  if (job.cancel_requested && !isOver(job)) return "Stopping after this stitch";
  if (job.status === "queued") {
    const ahead = (job.queue_position ?? 1) - 1;
    return ahead > 0 ? `Waiting, ${ahead} ahead` : "Waiting for the machine";
  }
  if (job.status === "starting" && !job.progress.stage) return "Threading the needle";
  if (job.kind === "render" && job.progress.stage === "diffuse" && job.progress.preview_url) return "A first draft; the finished picture follows";
  const known = stagesOf(job.kind).find(([name]) => name === job.progress.stage);
  return known ? known[1] : "Working";
}

/** @param {{ share: number, label: string }} props */
export function Seam({ share, label }) {
  // Variations run through the same stages again, but nobody unpicks a seam.
  const most = useRef(0);
  most.current = Math.max(most.current, share);
  const percent = Math.round(most.current * 100);
  return html`<div class="seam" role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${percent}>
    <div class="seam-thread" style=${{ "--share": `${percent}%` }}></div>
    <div class="seam-needle" style=${{ "--share": `${percent}%` }}></div>
  </div>`;
}

/**
 * @param {{
 *   job: import("../shapes.js").Job | null, kind: string, link: import("../live.js").Link, title: string,
 *   fallback?: string | null, actions?: import("../dom.js").Children, compact?: boolean,
 * }} props `fallback` is shown until the job has a picture of its own.
 */
export function JobProgress({ job, kind, link, title, fallback, actions, compact }) {
  const stages = stagesOf(kind).filter(([name]) => name !== "place" || job?.progress.stage === "place");
  const at = job ? stages.findIndex(([name]) => name === job.progress.stage) : -1;
  const words = job ? stageWords(job) : "Asking how far it is";
  const eta = job?.progress.eta_s;
  const steps = job && job.progress.total > 1 ? `step ${job.progress.step} of ${job.progress.total}` : "";
  const preview = job?.progress.preview_url ?? fallback;
  return html`<section class=${cx("progress", compact && "progress-compact")} aria-label=${title}>
    ${preview && html`<div class="progress-picture"><${Plate} src=${preview} alt="How it looks so far" /></div>`}
    <div class="progress-text">
      <h2>${title}</h2>
      <p class="progress-now" aria-live="polite">${words}</p>
      <${Seam} share=${job ? shareDone(job) : 0} label=${title} />
      <p class="progress-eta">
        ${steps && html`<span>${steps}</span>`}
        ${eta !== null && eta !== undefined && job && !isOver(job) && html`<span>${left(eta)}</span>`}
        ${job && job.attempt > 1 && html`<span>attempt ${job.attempt}</span>`}
        ${link === "offline" && html`<span class="progress-link">Connection lost. The work goes on; looking for it again…</span>`}
      </p>
      ${!compact && stages.length > 1 && html`<ol class="stages">
        ${stages.map(([name, label], index) => html`<li key=${name} class=${cx("stage", index < at && "stage-done", index === at && "stage-now")}
          aria-current=${index === at ? "step" : undefined}>${label}</li>`)}
      </ol>`}
      ${actions && html`<div class="progress-actions">${actions}</div>`}
    </div>
  </section>`;
}
