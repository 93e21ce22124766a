import { Problem } from "../api.js";
import { html, useEffect, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { TextField } from "../components/field.js";
import { Icon, Mark } from "../components/icon.js";
import { Lightbox } from "../components/lightbox.js";
import { Empty, Failure, Loading, Notice } from "../components/notice.js";
import { Plate } from "../components/picture.js";
import { Big, makingOf, titleOf, Variants } from "../components/result.js";
import { JobProgress } from "../components/stitches.js";
import { tellError } from "../components/toast.js";
import { approveShared, getShared, getSharedRender, listSharedRenders } from "../hoop.js";
import { isOver, ofShared, useJob } from "../live.js";
import { useLoaded } from "../store.js";
import { day, moment } from "../words.js";
import { OwnDesign } from "./shared-design.js";

/** @typedef {import("../shapes.js").Shared} Shared */
/** @typedef {import("../shapes.js").Render} Render */

/** @param {{ token: string, shared: Shared, render: Render | null, index: number, onChange: (shared: Shared) => void }} props */
function Approve({ token, shared, render, index, onChange }) {
  const [name, setName] = useState("");
  const [note, setNote] = useState("");
  const [busy, setBusy] = useState(false);
  const [open, setOpen] = useState(false);
  if (!shared.may.includes("approve") || !render) return null;
  const { approval, approved_at } = shared;
  const mine = approved_at && approval?.render === render.id && (approval.index ?? 0) === index;
  if (mine) {
    return html`<${Notice} kind="good" title="You approved this preview">${shared.shop.name} has been told on ${moment(approved_at)}.<//>`;
  }
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      onChange(await approveShared(token, { render: render.id, index, ...(name.trim() ? { name: name.trim() } : {}), ...(note.trim() ? { note: note.trim() } : {}) }));
      setOpen(false);
    } catch (error) {
      tellError(error);
    }
    setBusy(false);
  };
  if (!open) return html`<${Button} look="primary" wide icon="check" onClick=${() => setOpen(true)}>${approved_at ? "Approve this one instead" : "I like it: approve"}<//>`;
  return html`<form class="panel stack" onSubmit=${submit} aria-label="Approve">
    <h2>Approve this preview</h2>
    <${TextField} label="Your name" value=${name} onInput=${setName} maxLength=${120} autocomplete="name" autofocus />
    <${TextField} long label="A note for the shop" value=${note} onInput=${setNote} maxLength=${2000} />
    <div class="form-end"><${Button} type="submit" look="primary" icon="check" busy=${busy}>Approve<//><${Button} look="ghost" onClick=${() => setOpen(false)}>Not yet<//></div>
  </form>`;
}

/** A finished render, or its progress. @param {{ token: string, first: Render, shared: Shared, onShared: (shared: Shared) => void }} props */
function Preview({ token, first, shared, onShared }) {
  const [render, setRender] = useState(first);
  const [chosen, setChosen] = useState(0);
  const [show, setShow] = useState(/** @type {import("../components/result.js").Show} */ (first.outputs[0]?.garment_url ? "garment" : "compare"));
  const [open, setOpen] = useState(false);
  const { job, link } = useJob(isOver(render) ? null : render.id, () => ofShared(token, render));
  const over = job ? isOver(job) : false;
  useEffect(() => {
    if (over) getSharedRender(token, render.id).then(setRender, tellError);
  }, [over]);

  if (!isOver(render)) return html`<${JobProgress} job=${job} kind="render" link=${link} title=${makingOf(render)} fallback=${render.design_url} />`;
  const output = render.outputs[chosen] ?? render.outputs[0];
  if (!output) return html`<${Notice} kind="warning" title="There is no picture">${render.error?.detail || "This preview was stopped before it was done."}<//>`;
  /** @param {import("../shapes.js").Output} item */
  const picture = (item) => (show === "garment" && item.garment_url ? item.garment_url : item.patch_url);
  const name = titleOf(render).replace(/[“”]/g, "");
  return html`<div class="result">
    <${Big} output=${output} design=${render.design_url} show=${show} onShow=${setShow} onOpen=${() => setOpen(true)} />
    <${Variants} outputs=${render.outputs} chosen=${output} onChoose=${setChosen} />
    <${Approve} token=${token} shared=${shared} render=${render} index=${output.index} onChange=${onShared} />
    <div class="share-actions">
      <${Button} icon="zoom" onClick=${() => setOpen(true)}>Enlarge<//>
      <${Button} icon="download" href=${picture(output)} download=${`${name} ${output.index + 1}.png`}>Download<//>
    </div>
    ${open && html`<${Lightbox} start=${render.outputs.indexOf(output)} onClose=${() => setOpen(false)}
      slides=${render.outputs.map((item) => ({ src: picture(item), alt: `Variation ${item.index + 1}`, download: `${name} ${item.index + 1}.png` }))} />`}
  </div>`;
}

/** @param {{ shared: Shared }} props */
function StyleIntro({ shared }) {
  const [open, setOpen] = useState(/** @type {number | null} */ (null));
  const style = shared.style;
  if (!style) return null;
  const slides = [
    ...(style.pair?.embroidery_url ? [{ src: style.pair.embroidery_url, alt: "The embroidery this style comes from" }] : []),
    ...style.samples.map((sample, index) => ({ src: sample.url, alt: sample.prompt ?? `Sample ${index + 1}` })),
  ];
  return html`<div class="share-style">
    ${slides.map((slide, index) => html`<${Plate} key=${slide.src} src=${slide.src} alt=${slide.alt} onOpen=${() => setOpen(index)} />`)}
    ${open !== null && html`<${Lightbox} slides=${slides} start=${open} onClose=${() => setOpen(null)} />`}
  </div>`;
}

/** @param {{ token: string }} props */
export function SharedPage({ token }) {
  const { value: shared, error, reload, put } = useLoaded((signal) => getShared(token, signal), token);
  const [mine, setMine] = useState(/** @type {Render[]} */ ([]));
  const may = shared?.may ?? [];
  const makes = may.includes("brief") || may.includes("upload");
  useEffect(() => {
    if (!makes) return;
    const abort = new AbortController();
    // What was made before on this link is a comfort, no need: the page works without it.
    listSharedRenders(token, abort.signal).then((page) => setMine(page.data), () => {});
    return () => abort.abort();
  }, [makes]);
  useEffect(() => {
    if (shared) document.title = `${shared.kind === "render" ? "Your embroidery" : shared.style?.name} · ${shared.shop.name}`;
  }, [shared]);

  if (error && !shared) {
    const gone = error instanceof Problem && error.status < 500 && error.status !== 429;
    return html`<main class="share share-gone">
      ${gone
        ? html`<${Empty} title="This link does not work any more">${error instanceof Problem ? error.message : ""} If you need it, ask the shop for a new one.<//>`
        : html`<${Failure} error=${error} retry=${reload} />`}
    </main>`;
  }
  if (!shared) return html`<main class="share"><${Loading} kind="page" /></main>`;
  return html`<header class="share-head"><span class="share-shop">${shared.shop.name}</span></header>
    <main class="share">
      <h1>${shared.kind === "render" ? "Your embroidery" : shared.style?.name}</h1>
      <p class="lead">${shared.kind === "render"
        ? "This is how your design would look, stitched."
        : "A style of embroidery by this shop. These are samples of it."}</p>
      ${shared.render && html`<${Preview} token=${token} first=${shared.render} shared=${shared} onShared=${put} />`}
      <${StyleIntro} shared=${shared} />
      ${makes && html`<section class="share-own" aria-label="Try your own design">
        <h2>Try your own design</h2>
        <${OwnDesign} token=${token} may=${may} onMade=${(/** @type {Render} */ render) => setMine((now) => [render, ...now])} />
      </section>`}
      ${mine.length > 0 && html`<section class="share-mine" aria-label="Your previews">
        <h2>Your previews</h2>
        ${mine.map((render) => html`<article key=${render.id} aria-label=${titleOf(render)}><h3>${titleOf(render)}</h3>
          <${Preview} token=${token} first=${render} shared=${shared} onShared=${put} /></article>`)}
      </section>`}
      ${shared.expires_at && html`<p class="share-foot"><${Icon} name="info" size=${16} /><span>A preview, drawn by a model: thread and fabric differ a little in the end. This link works until ${day(shared.expires_at)}.</span></p>`}
      <p class="share-made"><${Mark} size=${18} /> made with Hoop</p>
    </main>`;
}
