import { html, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Drop } from "../components/drop.js";
import { Choice, TextField } from "../components/field.js";
import { Failure } from "../components/notice.js";
import { createSharedRender, uploadShared } from "../hoop.js";
import { BRIEF_LIMIT } from "../request.js";

/** @typedef {import("../shapes.js").Picture} Picture */

/**
 * A customer's own design in the shared style, by words or picture as far as the link allows.
 * @param {{ token: string, may: string[], onMade: (render: import("../shapes.js").Render) => void }} props
 */
export function OwnDesign({ token, may, onMade }) {
  const [mode, setMode] = useState(/** @type {"upload" | "brief"} */ (may.includes("upload") ? "upload" : "brief"));
  const [design, setDesign] = useState(/** @type {Picture | null} */ (null));
  const [brief, setBrief] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onMade(await createSharedRender(token, { input: mode === "upload" ? { type: "image", image: design?.id } : { type: "text", brief: brief.trim() } }));
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const ready = mode === "upload" ? design !== null : brief.trim() !== "";
  return html`<form class="panel stack" onSubmit=${submit}>
    ${may.includes("upload") && may.includes("brief") && html`<${Choice} label="How" hideLabel value=${mode} onChange=${setMode}
      options=${[{ value: "upload", label: "Upload a design" }, { value: "brief", label: "Describe it" }]} />`}
    ${mode === "upload"
      ? html`<${Drop} small camera label=${design ? "Your design" : "Choose your design"} purpose="design" value=${design} onChange=${setDesign} hint="A logo or drawing, up to 25 MB."
          send=${(/** @type {File} */ file, /** @type {(share: number) => void} */ onProgress, /** @type {AbortSignal} */ signal) => uploadShared(token, file, onProgress, signal)} />`
      : html`<${TextField} long label="Describe the design" value=${brief} onInput=${setBrief} maxLength=${BRIEF_LIMIT} placeholder="a red fox" />`}
    <${Failure} error=${error} />
    <${Button} type="submit" look="primary" wide icon="needle" busy=${busy} disabled=${!ready}>Show it stitched<//>
  </form>`;
}
