import { attemptKey } from "../api.js";
import { cx, html, useEffect, useId, useRef, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Drop } from "../components/drop.js";
import { Choice, TextField } from "../components/field.js";
import { Empty, Failure, Loading } from "../components/notice.js";
import { FineTune } from "../components/fine-tune.js";
import { firstPlace, Placement } from "../components/placement.js";
import { Plate } from "../components/picture.js";
import { Result } from "../components/result.js";
import { createRender, listBases, listStyles } from "../hoop.js";
import { replace } from "../router.js";
import { bodyOf, BRIEF_LIMIT, current, missing, set, setup } from "../request.js";
import { useLoaded, useStore } from "../store.js";
import { faceOf } from "./styles.js";

/** @typedef {import("../shapes.js").Style} Style */
/** @typedef {import("../shapes.js").Picture} Picture */

const IDEAS = ["a red fox", "two blue bicycles", "a sunflower", "a crown with the name “Anna”"];

/** @param {{ styles: Style[], chosen: string | null }} props */
function StylePicker({ styles, chosen }) {
  const name = useId();
  return html`<fieldset class="picker"><legend>Style</legend>
    <div class="picker-row">
      ${styles.map((style) => html`<label key=${style.id} class=${cx("picker-style", style.id === chosen && "chosen")}>
        <input type="radio" name=${name} value=${style.id} checked=${style.id === chosen}
          onChange=${() => { set({ style: style.id }); replace(`/studio?style=${style.id}`); }} />
        <${Plate} src=${faceOf(style)} alt="" fit="cover" lazy /><span>${style.name}</span>
      </label>`)}
    </div>
  </fieldset>`;
}

/** @param {{ now: import("../request.js").Setup }} props */
function DesignInput({ now }) {
  return html`<div class="stack">
    <${Choice} label="The design" value=${now.mode} onChange=${(/** @type {"image" | "text"} */ mode) => set({ mode })}
      options=${[{ value: "image", label: "Upload" }, { value: "text", label: "Describe" }]} />
    ${now.mode === "image"
      ? html`<${Drop} small label=${now.design ? "Your design" : "Drop or paste a design"} purpose="design" paste value=${now.design}
          hint="A logo or drawing. PNG with transparency works best." onChange=${(/** @type {Picture | null} */ design) => set({ design })} />`
      : html`<${TextField} long label="Describe the design" value=${now.brief} maxLength=${BRIEF_LIMIT} placeholder="a red fox"
          onInput=${(/** @type {string} */ brief) => set({ brief })} hint=${`Plain words: things, colours, how many, letters in quotes. ${now.brief.length} of ${BRIEF_LIMIT} characters.`} />
        <div class="chips" role="group" aria-label="Ideas">
          ${IDEAS.map((idea) => html`<button type="button" class="chip" key=${idea} onClick=${() => set({ brief: idea })}>${idea}</button>`)}
        </div>`}
  </div>`;
}

/** @param {{ now: import("../request.js").Setup }} props */
function GarmentInput({ now }) {
  const [open, setOpen] = useState(now.garment !== null);
  /** @param {Picture | null} garment */
  const choose = (garment) => set({ garment, quad: garment ? firstPlace(garment) : null });
  if (!open) return html`<${Button} small icon="shirt" onClick=${() => setOpen(true)}>Show it on a garment<//>`;
  return html`<div class="stack garment">
    <${Drop} small camera label=${now.garment ? "The garment" : "Drop a photo of the garment"} purpose="garment" value=${now.garment} onChange=${choose}
      hint="A shirt, cap or bag. You then say where the embroidery goes." />
    ${now.garment && now.quad && html`<${Placement} garment=${now.garment} design=${now.mode === "image" ? (now.design?.url ?? null) : null} quad=${now.quad}
        onChange=${(/** @type {import("../components/geometry.js").Quad} */ quad) => set({ quad })} />
      <${TextField} label="Real width, in millimetres" value=${now.widthMm} inputmode="numeric" onInput=${(/** @type {string} */ widthMm) => set({ widthMm: widthMm.replace(/\D/g, "") })}
        hint="If you know it, stitches get their true size." />`}
    ${!now.garment && html`<${Button} small look="ghost" onClick=${() => setOpen(false)}>No garment<//>`}
  </div>`;
}

/** @param {{ style: string | null }} props From the address. */
export function Studio({ style: wanted }) {
  const now = useStore(setup);
  const shown = useStore(current);
  const { value, error, loading, reload } = useLoaded((signal) => listStyles(null, signal, 100), "studio");
  const bases = useLoaded(listBases, "bases");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState(/** @type {unknown} */ (null));
  const [running, setRunning] = useState(false);
  const results = useRef(/** @type {HTMLElement | null} */ (null));
  const styles = (value?.data ?? []).filter((style) => style.status === "ready");

  useEffect(() => {
    const known = styles.some((style) => style.id === wanted) ? wanted : styles.some((style) => style.id === now.style) ? now.style : (styles[0]?.id ?? null);
    if (value && known !== now.style) set({ style: known });
  }, [value, wanted]);

  /** @param {string} id */
  const show = (id) => {
    current.set(id);
    if (matchMedia("(max-width: 899px)").matches) results.current?.scrollIntoView({ block: "start" });
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      const render = await createRender(bodyOf(now), attemptKey());
      setRunning(true);
      show(render.id);
    } catch (refusal) {
      setProblem(refusal);
    }
    setBusy(false);
  };

  const newStyle = html`<${Button} look="primary" icon="plus" href="#/new">New style<//>`;
  if (error && !value) return html`<header class="head"><h1>Studio</h1></header><${Failure} error=${error} retry=${reload} />`;
  if (!value && loading) return html`<header class="head"><h1>Studio</h1></header><${Loading} kind="page" />`;
  if (!styles.length) {
    return html`<header class="head"><h1>Studio</h1></header>
      <${Empty} title="The studio needs a style" action=${newStyle}>Let Hoop learn one from a photo. As soon as it is ready you can try designs in it here.<//>`;
  }
  const lack = missing(now);
  const chosen = styles.find((style) => style.id === now.style);
  const base = bases.value?.data.find(({ name }) => name === chosen?.base) ?? bases.value?.data[0];
  return html`<header class="head"><div><h1>Studio</h1><p class="lead">Any design, in an embroidery you have made.</p></div></header>
    <div class="studio">
      <form class="studio-form panel" onSubmit=${submit} aria-label="New preview">
        <${StylePicker} styles=${styles} chosen=${now.style} />
        <${DesignInput} now=${now} />
        <${GarmentInput} now=${now} />
        <${Choice} label="Variations" value=${String(now.variations)} onChange=${(/** @type {string} */ count) => set({ variations: Number(count) })}
          options=${["1", "2", "3", "4"].map((count) => ({ value: count, label: count }))} />
        ${base && html`<${FineTune} now=${now} preset=${chosen?.preset ?? "flat"} defaults=${base.defaults} />`}
        <${Failure} error=${problem} />
        <div class="studio-go">
          <${Button} type="submit" look="primary" wide icon="needle" busy=${busy} disabled=${lack !== null}>Make preview<//>
          ${lack && html`<p class="hint">${lack}</p>`}
        </div>
      </form>
      <section class="studio-result" ref=${results} aria-label="Preview" aria-busy=${running}>
        ${shown
          ? html`<${Result} key=${shown} id=${shown} onAgain=${(/** @type {{ id: string }} */ render) => show(render.id)} onDeleted=${() => current.set(null)}
              onChange=${(/** @type {import("../shapes.js").Render} */ render) => setRunning(render.outputs.length === 0 && render.status !== "failed" && render.status !== "canceled")} />
            <p class="hint"><a href=${`#/previews/${shown}`}>Open on its own page</a> · <a href="#/previews">All previews</a></p>`
          : html`<div class="studio-blank">
              ${chosen && html`<${Plate} src=${chosen.samples[0]?.url ?? faceOf(chosen)} alt=${`A sample of ${chosen.name}`} />`}
              <p>Your preview appears here${chosen ? html`, in <strong>${chosen.name}</strong>` : ""}.</p>
            </div>`}
      </section>
    </div>`;
}
