import { credential } from "../api.js";
import { html, useEffect, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Confirm, Dialog } from "../components/dialog.js";
import { TextField } from "../components/field.js";
import { Icon } from "../components/icon.js";
import { Lightbox } from "../components/lightbox.js";
import { Failure, Loading, Notice, Warnings } from "../components/notice.js";
import { Halves } from "../components/pair-review.js";
import { Plate } from "../components/picture.js";
import { ShareDialog } from "../components/share-dialog.js";
import { Status } from "../components/status.js";
import { JobProgress } from "../components/stitches.js";
import { tell, tellError } from "../components/toast.js";
import { draftFrom } from "../draft.js";
import { cancelJob, deleteStyle, getStyle, renameStyle } from "../hoop.js";
import { isOver, useJob } from "../live.js";
import { figures, findings } from "../report.js";
import { go } from "../router.js";
import { warningsIn } from "../shapes.js";
import { useLoaded } from "../store.js";
import { builderWord, moment, size } from "../words.js";

/** @typedef {import("../shapes.js").Style} Style */

/** @param {{ style: Style, onOver: () => void }} props */
function Training({ style, onOver }) {
  const { job, link, error, put } = useJob(style.job);
  const [stopping, setStopping] = useState(false);
  const over = job ? isOver(job) : false;
  useEffect(() => { if (over) onOver(); }, [over]);
  const cancel = html`<${Button} icon="stop" onClick=${() => setStopping(true)} disabled=${over}>Stop learning<//>`;
  return html`<${Failure} error=${error} />
    <${JobProgress} job=${job} kind="train" link=${link} title=${`Learning “${style.name}”`} actions=${cancel} fallback=${style.pair?.embroidery_url ?? style.reference_url} />
    <p class="hint under">You can leave this page: Hoop goes on, and the style appears among the others when it is ready.</p>
    ${stopping && html`<${Confirm} title="Stop learning?" action="Stop learning" danger onClose=${() => setStopping(false)}
      onConfirm=${async () => { if (style.job) put(await cancelJob(style.job)); }}>
      What was learnt so far is not kept. The photo stays, and you can start again from it.
    <//>`}`;
}

/** @param {{ style: Style, onOpen: (index: number) => void }} props */
function Samples({ style, onOpen }) {
  if (!style.samples.length) return null;
  return html`<section class="block" aria-label="Samples">
    <h2>Samples</h2>
    <div class="tiles">
      ${style.samples.map((sample, index) => html`<figure class="tile" key=${sample.url}>
        <${Plate} src=${sample.url} alt=${sample.prompt ?? `Sample ${index + 1}`} onOpen=${() => onOpen(index)} lazy />
        ${sample.prompt && html`<figcaption>${sample.prompt}</figcaption>`}
      </figure>`)}
    </div>
  </section>`;
}

/** @param {{ style: Style }} props */
function Report({ style }) {
  const said = findings(style.report);
  const notes = warningsIn(style.report);
  if (!said.length && !notes.length) return null;
  return html`<section class="block" aria-label="How it went">
    <h2>How it went</h2>
    <ul class="findings">${said.map(({ good, text }) => html`<li class=${good ? "good" : "doubt"}><${Icon} name=${good ? "check" : "alert"} size=${18} /><span>${text}</span></li>`)}</ul>
    <${Warnings} warnings=${notes} />
  </section>`;
}

/** @param {{ style: Style }} props */
function Details({ style }) {
  /** @type {[string, string | null | undefined][]} */
  const rows = [
    ["Learnt", moment(style.created_at)],
    ["Flat design", builderWord(style.pair?.builder ?? "")],
    ["Base model", style.base],
    ["Seed", style.seed === null ? null : String(style.seed)],
    ["Style blocks", style.blocks.filter((block) => typeof block === "string").join(", ")],
    ["Adapter", style.adapter?.bytes ? `${size(style.adapter.bytes)}, rank ${style.adapter.rank ?? "?"}` : null],
    ["SHA-256", style.adapter?.sha256],
    ["Id", style.id],
    ...figures(style.report),
  ];
  return html`<details class="details">
    <summary>Technical details</summary>
    <dl>${rows.filter(([, value]) => value).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${style.adapter && credential.get() && html`<p class="hint">To download the adapter here, sign in with a login link: a plain link carries no API key.</p>`}
    ${style.adapter && html`<p class="hint">The adapter is a safetensors file that stock diffusers loads with <code>pipe.load_lora_weights</code>.</p>`}
  </details>`;
}

/** @param {{ style: Style, onClose: () => void, onDone: (style: Style) => void }} props */
function Rename({ style, onClose, onDone }) {
  const [name, setName] = useState(style.name);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      onDone(await renameStyle(style.id, name.trim()));
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  return html`<${Dialog} title="Rename style" onClose=${onClose}>
    <form onSubmit=${submit} class="stack">
      <${TextField} label="Name" value=${name} onInput=${setName} maxLength=${80} required autofocus />
      <${Failure} error=${error} />
      <div class="form-end"><${Button} look="primary" type="submit" busy=${busy} disabled=${!name.trim()}>Save<//></div>
    </form>
  <//>`;
}

/** @param {{ style: Style }} props */
function Ended({ style }) {
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    try {
      await draftFrom(style);
      go("/new");
    } catch (error) {
      tellError(error);
      setBusy(false);
    }
  };
  const action = html`<${Button} look="primary" small icon="repeat" busy=${busy} onClick=${again}>Start again from its photo<//>`;
  if (style.status === "canceled") {
    return html`<${Notice} title="Learning was stopped" action=${action}>Nothing was lost but the learning itself: the photo is still here.<//>`;
  }
  const why = style.error?.detail || "Something went wrong while learning, and three attempts did not help.";
  return html`<${Notice} kind="error" title="This style could not be learnt" action=${action}>${why}<//>`;
}

/** @param {{ id: string }} props */
export function StylePage({ id }) {
  const { value: style, error, reload, put } = useLoaded((signal) => getStyle(id, signal), id);
  const [dialog, setDialog] = useState(/** @type {"rename" | "delete" | "share" | null} */ (null));
  const [open, setOpen] = useState(/** @type {{ of: "pair" | "samples", at: number } | null} */ (null));
  if (error && !style) return html`<header class="head"><div><a class="crumb" href="#/styles">Styles</a><h1>Style</h1></div></header><${Failure} error=${error} retry=${reload} />`;
  if (!style) return html`<${Loading} kind="page" />`;

  const close = () => setDialog(null);
  const ready = style.status === "ready";
  const slides = open?.of === "pair"
    ? [
        { src: style.pair?.embroidery_url ?? "", alt: "Embroidery" },
        { src: style.pair?.design_url ?? "", alt: "Flat design" },
      ]
    : style.samples.map((sample, index) => ({ src: sample.url, alt: sample.prompt ?? `Sample ${index + 1}`, download: `${style.name} sample ${index + 1}.png` }));
  return html`<header class="head">
      <div><a class="crumb" href="#/styles">Styles</a><h1>${style.name}</h1><p class="head-status"><${Status} status=${style.status} /></p></div>
      <div class="head-actions">
        ${ready && html`<${Button} look="primary" icon="needle" href=${`#/studio?style=${style.id}`}>Use in studio<//>
          <${Button} icon="share" onClick=${() => setDialog("share")}>Share<//>
          ${!credential.get() && html`<${Button} icon="download" href=${`/v1/styles/${style.id}/adapter`} download>Adapter<//>`}`}
        <${Button} look="ghost" icon="pen" label="Rename" onClick=${() => setDialog("rename")} />
        <${Button} look="ghost" icon="trash" label="Delete" onClick=${() => setDialog("delete")} />
      </div>
    </header>
    ${style.status === "training" && html`<${Training} style=${style} onOver=${reload} />`}
    ${(style.status === "failed" || style.status === "canceled") && html`<${Ended} style=${style} />`}
    <${Samples} style=${style} onOpen=${(/** @type {number} */ at) => setOpen({ of: "samples", at })} />
    ${style.pair?.embroidery_url && style.pair.design_url && html`<section class="block" aria-label="The pair">
      <h2>Learnt from</h2>
      <${Halves} embroidery=${style.pair.embroidery_url} design=${style.pair.design_url} onOpen=${(/** @type {number} */ at) => setOpen({ of: "pair", at })} />
    </section>`}
    ${ready && html`<${Report} style=${style} />`}
    <${Details} style=${style} />
    ${open && html`<${Lightbox} slides=${slides} start=${open.at} onClose=${() => setOpen(null)} />`}
    ${dialog === "rename" && html`<${Rename} style=${style} onClose=${close} onDone=${put} />`}
    ${dialog === "share" && html`<${ShareDialog} target=${{ style: style.id }} name=${style.name} onClose=${close} />`}
    ${dialog === "delete" && html`<${Confirm} title=${`Delete “${style.name}”?`} action="Delete style" danger onClose=${close}
      onConfirm=${async () => { await deleteStyle(style.id); tell(`“${style.name}” is deleted.`); go("/styles"); }}>
      No new previews can be made in it. Previews made before stay.
    <//>`}`;
}

