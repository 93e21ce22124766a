import { html, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Choice } from "../components/field.js";
import { Empty, Failure, Loading } from "../components/notice.js";
import { MoreRows, usePages } from "../components/pages.js";
import { Plate } from "../components/picture.js";
import { titleOf } from "../components/result.js";
import { Status } from "../components/status.js";
import { listRenders, listStyles } from "../hoop.js";
import { isOver } from "../live.js";
import { useLoaded } from "../store.js";
import { ago, plural } from "../words.js";

/** @param {{ render: import("../shapes.js").Render, style: string | undefined }} props */
function Tile({ render, style }) {
  const first = render.outputs[0];
  const name = titleOf(render);
  return html`<li class="tile">
    <a href=${`#/previews/${render.id}`} aria-label=${`${name}${style ? ` in ${style}` : ""}`}>
      <${Plate} src=${first ? (first.garment_url ?? first.patch_url) : render.design_url} alt="" fit=${first?.garment_url ? "cover" : "contain"} lazy />
      <span class="tile-text"><strong>${name}</strong>
        <span class="hint">${style ? `${style} · ` : ""}${ago(render.created_at)}${render.outputs.length > 1 ? ` · ${plural(render.outputs.length, "variation")}` : ""}</span>
        ${render.status !== "succeeded" && html`<${Status} status=${render.status} />`}
      </span>
    </a>
  </li>`;
}

/** Everything that was made, newest first. */
export function Renders() {
  const [only, setOnly] = useState("");
  const { value: styles } = useLoaded((signal) => listStyles(null, signal, 100), "names");
  const pages = usePages((cursor, signal) => listRenders({ cursor, style: only, limit: 24 }, signal), only);
  const names = new Map((styles?.data ?? []).map((style) => [style.id, style.name]));
  const make = html`<${Button} look="primary" icon="needle" href="#/studio">Make a preview<//>`;
  const busy = pages.rows.filter((render) => !isOver(render)).length;
  return html`<header class="head"><div><h1>Previews</h1><p class="lead">Every preview your shop has made.</p></div>${make}</header>
    ${names.size > 1 && html`<div class="filter"><${Choice} label="Style" hideLabel value=${only} onChange=${setOnly}
      options=${[{ value: "", label: "All styles" }, ...[...names].map(([value, label]) => ({ value, label }))]} /></div>`}
    <${Failure} error=${pages.error} retry=${pages.reload} />
    ${busy > 0 && html`<p class="hint">${plural(busy, "preview is", "previews are")} being made. <button type="button" class="linklike" onClick=${pages.refresh}>Look again</button></p>`}
    ${pages.first && !pages.error && html`<${Loading} count=${8} />`}
    ${!pages.first && !pages.error && !pages.rows.length && html`<${Empty} title=${only ? "Nothing in this style yet" : "No previews yet"} action=${only ? null : make}>
      What you make in the studio is kept here, to download or to share with a customer.<//>`}
    ${pages.rows.length > 0 && html`<ul class="tiles tiles-links">${pages.rows.map((render) =>
      html`<${Tile} key=${render.id} render=${render} style=${names.get(render.style)} />`)}</ul>`}
    <${MoreRows} pages=${pages} />`;
}
