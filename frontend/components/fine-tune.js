/** The settings behind a preset, for those who want them. */
import { html } from "../dom.js";
import { set, UNTUNED } from "../request.js";
import { Button } from "./button.js";
import { Choice, RangeField, Switch, TextField } from "./field.js";

/** @param {{ now: import("../request.js").Setup, preset: string, defaults: import("../shapes.js").Defaults }} props `preset` is the style's own. */
export function FineTune({ now, preset, defaults }) {
  const name = now.preset ?? (preset === "raised" ? "raised" : "flat");
  const values = defaults[now.mode === "text" ? "text" : name];
  const tuned = Object.keys(UNTUNED).some((key) => now[/** @type {keyof typeof UNTUNED} */ (key)] !== UNTUNED[/** @type {keyof typeof UNTUNED} */ (key)]);
  const image = now.mode === "image";
  return html`<details class="fine">
    <summary>Fine-tune${tuned && html`<span class="fine-mark">changed</span>`}</summary>
    <div class="stack">
      <${Choice} label="Preset" value=${name} onChange=${(/** @type {"flat" | "raised"} */ value) => set({ ...UNTUNED, seed: now.seed, quality: now.quality, preset: value })} options=${[
        { value: "flat", label: "Flat", hint: "Keeps outline and colours" }, { value: "raised", label: "Raised", hint: "Beads, sequins, towelling" },
      ]} />
      <${Choice} label="Picture" value=${now.quality} onChange=${(/** @type {"draft" | "final"} */ quality) => set({ quality })} options=${[
        { value: "final", label: "Sharp", hint: "Shows a draft first" }, { value: "draft", label: "Draft", hint: "Quick, fewer pixels" },
      ]} />
      ${image && html`<${RangeField} label="Strength" min=${0.1} max=${1} step=${0.05} value=${now.strength ?? values.strength} onInput=${(/** @type {number} */ strength) => set({ strength })}
          hint="How much of the picture is drawn anew." />
        <${RangeField} label="Hold the outline" min=${0} max=${1} step=${0.05} value=${now.edge ?? values.control.edge} onInput=${(/** @type {number} */ edge) => set({ edge })} />
        <${RangeField} label="Hold the colour areas" min=${0} max=${1} step=${0.05} value=${now.tile ?? values.control.tile} onInput=${(/** @type {number} */ tile) => set({ tile })} />`}
      <${RangeField} label="Guidance" min=${1} max=${10} step=${0.5} value=${now.guidance ?? values.guidance} onInput=${(/** @type {number} */ guidance) => set({ guidance })}
        hint="How strictly the words are followed. 1 suits the bundled model." />
      ${image && html`<${Switch} label="Keep the design's exact colours" checked=${now.colourFix ?? values.colour_fix} onChange=${(/** @type {boolean} */ colourFix) => set({ colourFix })} />`}
      <${TextField} label="Seed" value=${now.seed} inputmode="numeric" placeholder="A new one each time" onInput=${(/** @type {string} */ seed) => set({ seed: seed.replace(/\D/g, "").slice(0, 10) })} />
      ${tuned && html`<${Button} small look="ghost" onClick=${() => set(UNTUNED)}>Back to the preset<//>`}
    </div>
  </details>`;
}
