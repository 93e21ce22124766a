/** One render: its progress, then its pictures with everything that can be done with them. */
import { attemptKey } from "../api.js";
import { cx, html, useEffect, useState } from "../dom.js";
import { cancelJob, createRender, deleteRender, getRender } from "../hoop.js";
import { isOver, useJob } from "../live.js";
import { bodyAgain } from "../request.js";
import { useLoaded } from "../store.js";
import { Button } from "./button.js";
import { Compare } from "./compare.js";
import { Confirm } from "./dialog.js";
import { Choice } from "./field.js";
import { Lightbox } from "./lightbox.js";
import { Failure, Loading, Notice, Warnings } from "./notice.js";
import { Plate } from "./picture.js";
import { ShareDialog } from "./share-dialog.js";
import { JobProgress } from "./stitches.js";
import { tell, tellError } from "./toast.js";

/** @typedef {import("../shapes.js").Render} Render */
/** @typedef {import("../shapes.js").Output} Output */

/** What was asked for, as a title. @param {Render} render */
export function titleOf(render) {
  const input = /** @type {Record<string, unknown>} */ (render.input["input"] ?? render.input);
  return typeof input["brief"] === "string" && input["brief"] ? `“${input["brief"]}”` : "Uploaded design";
}

/** The same while it is being made. @param {Render} render */
export const makingOf = (render) => (titleOf(render) === "Uploaded design" ? "Making the preview" : `Making ${titleOf(render)}`);

/** @typedef {"compare" | "patch" | "garment"} Show */

/**
 * One picture large, with the design to compare or the garment it sits on.
 * @param {{ output: Output, design: string | null, onOpen: () => void, show: Show, onShow: (show: Show) => void }} props
 */
export function Big({ output, design, onOpen, show, onShow }) {
  const before = output.design_url ?? design;
  /** @type {{ value: Show, label: string }[]} */
  const options = [
    ...(output.garment_url ? [{ value: /** @type {Show} */ ("garment"), label: "On the garment" }] : []),
    ...(before ? [{ value: /** @type {Show} */ ("compare"), label: "Before and after" }] : []),
    { value: /** @type {Show} */ ("patch"), label: "Close up" },
  ];
  const now = options.some(({ value }) => value === show) ? show : /** @type {Show} */ (options[0]?.value);
  const ratio = `${output.width || 1} / ${output.height || 1}`;
  return html`<div class="big" style=${{ "--ratio": String((output.width || 1) / (output.height || 1)) }}>
    ${now === "compare" && before && html`<${Compare} before=${before} after=${output.patch_url} ratio=${ratio} />`}
    ${now === "patch" && html`<${Plate} src=${output.patch_url} alt="The embroidery, close up" ratio=${ratio} onOpen=${onOpen} />`}
    ${now === "garment" && html`<${Plate} src=${output.garment_url} alt="The embroidery on the garment" ratio="auto" onOpen=${onOpen} />`}
    ${options.length > 1 && html`<${Choice} label="View" hideLabel value=${now} options=${options} onChange=${onShow} />`}
  </div>`;
}

/** @param {{ outputs: Output[], chosen: Output, onChoose: (at: number) => void }} props */
export function Variants({ outputs, chosen, onChoose }) {
  if (outputs.length < 2) return null;
  return html`<div class="variants" role="group" aria-label="Variations">
    ${outputs.map((item, at) => html`<button type="button" key=${item.index} class=${cx("variant", item === chosen && "chosen")} aria-pressed=${item === chosen}
      aria-label=${`Variation ${at + 1}`} onClick=${() => onChoose(at)}><img src=${item.patch_url} alt="" loading="lazy" /></button>`)}
  </div>`;
}

/** @param {{ render: Render, name: string, onAgain: (render: Render) => void, onDeleted: () => void }} props */
function Done({ render, name, onAgain, onDeleted }) {
  const [chosen, setChosen] = useState(0);
  const [show, setShow] = useState(/** @type {Show} */ (render.outputs[0]?.garment_url ? "garment" : "compare"));
  const [open, setOpen] = useState(/** @type {number | null} */ (null));
  const [dialog, setDialog] = useState(/** @type {"share" | "delete" | null} */ (null));
  const [busy, setBusy] = useState(false);
  const output = render.outputs[chosen] ?? render.outputs[0];
  if (!output) return html`<${Notice} kind="warning">This preview has no pictures.<//>`;

  /** @param {Output} item */
  const picture = (item) => (show === "garment" && item.garment_url ? item.garment_url : item.patch_url);
  /** @param {Output} item */
  const file = (item) => `${name.replace(/[“”]/g, "")} ${item.index + 1}.png`;
  const again = async () => {
    setBusy(true);
    try {
      onAgain(await createRender(bodyAgain(render, render.style), attemptKey()));
    } catch (error) {
      tellError(error);
    }
    setBusy(false);
  };
  return html`<div class="result">
    <${Big} output=${output} design=${render.design_url} show=${show} onShow=${setShow} onOpen=${() => setOpen(render.outputs.indexOf(output))} />
    <${Variants} outputs=${render.outputs} chosen=${output} onChoose=${setChosen} />
    <${Warnings} warnings=${render.warnings} />
    <div class="result-actions">
      <${Button} look="primary" icon="download" href=${picture(output)} download=${file(output)}>Download<//>
      <${Button} icon="share" onClick=${() => setDialog("share")}>Share<//>
      <${Button} icon="repeat" busy=${busy} onClick=${again}>Make again<//>
      <${Button} look="ghost" icon="zoom" label="Enlarge" onClick=${() => setOpen(render.outputs.indexOf(output))} />
      <${Button} look="ghost" icon="trash" label="Delete this preview" onClick=${() => setDialog("delete")} />
    </div>
    ${output.seed !== null && html`<p class="hint">Seed ${output.seed}. “Make again” takes another one: the same design, new stitches.</p>`}
    ${open !== null && html`<${Lightbox} start=${open} onClose=${() => setOpen(null)}
      slides=${render.outputs.map((item, at) => ({ src: picture(item), alt: `Variation ${at + 1}`, download: file(item) }))} />`}
    ${dialog === "share" && html`<${ShareDialog} target=${{ render: render.id }} name=${name} onClose=${() => setDialog(null)} />`}
    ${dialog === "delete" && html`<${Confirm} title="Delete this preview?" action="Delete preview" danger onClose=${() => setDialog(null)}
      onConfirm=${async () => { await deleteRender(render.id); tell("The preview is deleted."); onDeleted(); }}>
      Its pictures are removed, and links to it stop working.
    <//>`}
  </div>`;
}

/**
 * @param {{ id: string, onAgain: (render: Render) => void, onDeleted: () => void, onChange?: (render: Render) => void }} props
 */
export function Result({ id, onAgain, onDeleted, onChange }) {
  const { value: render, error, reload } = useLoaded((signal) => getRender(id, signal), id);
  const running = render && !isOver(render) ? render.job : null;
  const { job, link, error: lost, put } = useJob(running);
  const over = job ? isOver(job) : false;
  useEffect(() => { if (over) reload(); }, [over]);
  useEffect(() => { if (render) onChange?.(render); }, [render]);

  if (error && !render) return html`<${Failure} error=${error} retry=${reload} />`;
  if (!render) return html`<${Loading} kind="page" />`;
  const name = titleOf(render);
  if (render.status === "succeeded") return html`<${Done} key=${render.id} render=${render} name=${name} onAgain=${onAgain} onDeleted=${onDeleted} />`;
  if (isOver(render)) return html`<${Stopped} render=${render} onAgain=${onAgain} />`;

  const cancel = async () => {
    if (!render.job) return;
    try {
      put(await cancelJob(render.job));
    } catch (problem) {
      tellError(problem);
    }
  };
  const stop = html`<${Button} small icon="stop" disabled=${over || job?.cancel_requested} onClick=${cancel}>Stop<//>`;
  return html`<${Failure} error=${lost} retry=${reload} />
    <${JobProgress} job=${job} kind="render" link=${link} title=${makingOf(render)} fallback=${render.design_url} actions=${stop} />`;
}

/** @param {{ render: Render, onAgain: (render: Render) => void }} props */
function Stopped({ render, onAgain }) {
  const [busy, setBusy] = useState(false);
  const again = async () => {
    setBusy(true);
    try {
      onAgain(await createRender(bodyAgain(render, render.style), attemptKey()));
    } catch (error) {
      tellError(error);
      setBusy(false);
    }
  };
  const action = html`<${Button} small icon="repeat" busy=${busy} onClick=${again}>Try again<//>`;
  if (render.status === "canceled") return html`<${Notice} title="Stopped" action=${action}>This preview was stopped before it was done.<//>`;
  if (render.status === "expired") return html`<${Notice} kind="warning" title="Too late" action=${action}>This preview waited too long and was given up.<//>`;
  const why = render.error?.detail || "Something went wrong while stitching, and three attempts did not help.";
  return html`<${Notice} kind="error" title="This preview did not work out" action=${action}>${why}<//>`;
}
