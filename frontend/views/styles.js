import { html, useEffect } from "../dom.js";
import { Button } from "../components/button.js";
import { Empty, Failure, Loading } from "../components/notice.js";
import { Plate } from "../components/picture.js";
import { Seam, shareDone, stageWords } from "../components/stitches.js";
import { Status } from "../components/status.js";
import { useJob, isOver } from "../live.js";
import { MoreRows, usePages } from "../components/pages.js";
import { listStyles } from "../hoop.js";
import { ago } from "../words.js";

/** @typedef {import("../shapes.js").Style} Style */

/** The picture that shows a style best: the embroidery it was learnt from. @param {Style} style */
export const faceOf = (style) => style.pair?.embroidery_url ?? style.reference_url;

/** @param {{ style: Style, onOver: () => void }} props */
function Learning({ style, onOver }) {
  const { job } = useJob(style.job);
  const over = job ? isOver(job) : false;
  useEffect(() => { if (over) onOver(); }, [over]);
  return html`<div class="card-learning">
    <span class="hint">${job ? stageWords(job) : "Learning"}</span>
    <${Seam} share=${job ? shareDone(job) : 0} label=${`Learning ${style.name}`} />
  </div>`;
}

/** @param {{ style: Style, onChange: () => void }} props */
function Card({ style, onChange }) {
  const href = `#/styles/${style.id}`;
  return html`<li class=${`card card-${style.status}`}>
    <a class="card-picture" href=${href} tabindex="-1" aria-hidden="true"><${Plate} src=${faceOf(style)} alt="" fit="cover" lazy />
      ${style.status === "ready" && style.samples.length > 1 && html`<span class="card-samples">
        ${style.samples.slice(0, 3).map((sample) => html`<img key=${sample.url} src=${sample.url} alt="" loading="lazy" />`)}
      </span>`}
    </a>
    <div class="card-text">
      <h2><a href=${href}>${style.name}</a></h2>
      <div class="card-line"><${Status} status=${style.status} /><span class="hint">${style.demo ? "Example" : ago(style.created_at)}</span></div>
      ${style.status === "training" && html`<${Learning} style=${style} onOver=${onChange} />`}
      ${style.status === "ready" && html`<${Button} small href=${`#/studio?style=${style.id}`} icon="needle">Use in studio<//>`}
      ${(style.status === "failed" || style.status === "canceled") && html`<${Button} small href=${href}>See what happened<//>`}
    </div>
  </li>`;
}

export function Styles() {
  const pages = usePages((cursor, signal) => listStyles(cursor, signal, 24), "styles");
  const fresh = html`<${Button} look="primary" icon="plus" href="#/new">New style<//>`;
  return html`<header class="head">
      <div><h1>Styles</h1><p class="lead">Each was learnt from one photo of an embroidery.</p></div>
      ${pages.rows.length > 0 && fresh}
    </header>
    <${Failure} error=${pages.error} retry=${pages.reload} />
    ${pages.first && !pages.error && html`<${Loading} />`}
    ${!pages.first && !pages.error && pages.rows.length === 0 &&
      html`<${Empty} title="Teach Hoop your first style" action=${fresh}>Take one photo of an embroidery you made. Hoop learns its stitches, and then shows any design in them.<//>`}
    ${pages.rows.length > 0 && html`<ul class="cards">
      ${pages.rows.map((style) => html`<${Card} key=${style.id} style=${style} onChange=${pages.refresh} />`)}
    </ul>`}
    <${MoreRows} pages=${pages} />`;
}
