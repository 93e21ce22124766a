import { html, useEffect, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Icon } from "../components/icon.js";
import { Empty, Failure, Loading } from "../components/notice.js";
import { MoreRows, usePages } from "../components/pages.js";
import { Seam, shareDone, stageWords } from "../components/stitches.js";
import { Status } from "../components/status.js";
import { tell, tellError } from "../components/toast.js";
import { cancelJob, listJobs } from "../hoop.js";
import { isOver, useJob } from "../live.js";
import { ago, duration, jobWord, left } from "../words.js";

/** @typedef {import("../shapes.js").Job} Job */

/** Where the thing is that a job works for. @param {Job} job */
function targetOf(job) {
  if (job.kind === "train") return `#/styles/${job.target}`;
  if (job.kind === "render") return `#/previews/${job.target}`;
  return null;
}

/** @param {{ first: Job, onChange: (job: Job) => void }} props */
function Row({ first, onChange }) {
  const { job: news, put } = useJob(isOver(first) ? null : first.id);
  const [busy, setBusy] = useState(false);
  const job = news ?? first;
  const over = isOver(job);
  useEffect(() => { if (over && job !== first) onChange(job); }, [over]);
  const cancel = async () => {
    setBusy(true);
    try {
      put(await cancelJob(job.id));
      tell("It stops at its next step.");
    } catch (error) {
      tellError(error);
    }
    setBusy(false);
  };
  const href = targetOf(job);
  const took = job.started_at && job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000 : null;
  const icon = job.kind === "train" ? "needle" : job.kind === "pair" ? "copy" : "previews";
  return html`<li class="job" aria-label=${jobWord(job.kind)}>
    <span class="job-icon"><${Icon} name=${icon} /></span>
    <div class="job-text">
      <strong>${href ? html`<a href=${href}>${jobWord(job.kind)}</a>` : jobWord(job.kind)}</strong>
      ${over
        ? html`<span class="hint">${ago(job.created_at)}${took !== null ? ` · took ${duration(Math.max(1, took))}` : ""}${job.attempt > 1 ? ` · ${job.attempt} attempts` : ""}</span>`
        : html`<span class="hint">${stageWords(job)}${job.progress.eta_s !== null ? ` · ${left(job.progress.eta_s)}` : ""}</span>
          <${Seam} share=${shareDone(job)} label=${jobWord(job.kind)} />`}
      ${job.status === "failed" && job.error && html`<span class="job-error">${job.error.detail || job.error.title}</span>`}
    </div>
    <${Status} status=${job.status} />
    <span class="job-end">${!over && html`<${Button} small icon="stop" busy=${busy} disabled=${job.cancel_requested} onClick=${cancel}>${job.cancel_requested ? "Stopping" : "Cancel"}<//>`}</span>
  </li>`;
}

/** What the workers are doing and have done. */
export function Jobs() {
  const pages = usePages((cursor, signal) => listJobs({ cursor, limit: 30 }, signal), "jobs");
  /** @param {Job} job */
  const settle = (job) => pages.change((rows) => rows.map((row) => (row.id === job.id ? job : row)));
  const running = pages.rows.filter((job) => !isOver(job));
  const done = pages.rows.filter(isOver);
  return html`<header class="head"><div><h1>Activity</h1><p class="lead">What Hoop is working on, and what it has done.</p></div>
      <${Button} icon="repeat" busy=${pages.loading} onClick=${pages.refresh}>Look again<//></header>
    <${Failure} error=${pages.error} retry=${pages.reload} />
    ${pages.first && !pages.error && html`<${Loading} kind="row" />`}
    ${!pages.first && !pages.error && !pages.rows.length && html`<${Empty} title="Nothing to do">When a style is being learnt or a preview is being made, it shows here, and can be stopped.<//>`}
    ${running.length > 0 && html`<h2 class="list-title">Now</h2><ul class="jobs">${running.map((job) => html`<${Row} key=${job.id} first=${job} onChange=${settle} />`)}</ul>`}
    ${done.length > 0 && html`<h2 class="list-title">Before</h2><ul class="jobs">${done.map((job) => html`<${Row} key=${job.id} first=${job} onChange=${settle} />`)}</ul>`}
    <${MoreRows} pages=${pages} />`;
}
