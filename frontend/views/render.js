import { html, useState } from "../dom.js";
import { Result, titleOf } from "../components/result.js";
import { Button } from "../components/button.js";
import { go } from "../router.js";
import { moment } from "../words.js";

/** One preview on its own page. @param {{ id: string }} props */
export function RenderPage({ id }) {
  const [render, setRender] = useState(/** @type {import("../shapes.js").Render | null} */ (null));
  const style = render ? render.style : null;
  return html`<header class="head">
      <div><a class="crumb" href="#/previews">Previews</a><h1>${render ? titleOf(render) : "Preview"}</h1>
        ${render && html`<p class="lead">${moment(render.created_at)}</p>`}</div>
      ${style && html`<div class="head-actions"><${Button} href=${`#/styles/${style}`} icon="styles">Its style<//><${Button} href=${`#/studio?style=${style}`} icon="needle">Studio<//></div>`}
    </header>
    <div class="single"><${Result} id=${id} onChange=${setRender} onDeleted=${() => go("/previews")}
      onAgain=${(/** @type {{ id: string }} */ next) => go(`/previews/${next.id}`)} /></div>`;
}
