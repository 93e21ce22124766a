/** Form fields with their labels, hints and errors tied together for screen readers. */
import { cx, html, useId } from "../dom.js";

/**
 * A line of text, or several. `onChange` is called when it is left, or Enter is pressed, and has another text than before.
 * @param {{
 *   label: string, value: string, onInput: (value: string) => void, onChange?: (value: string) => void, hint?: string, error?: string, type?: string, long?: boolean,
 *   placeholder?: string, maxLength?: number, required?: boolean, autocomplete?: string, autofocus?: boolean, inputmode?: string,
 * }} props
 */
export function TextField({
  label, value, onInput, onChange, hint, error, type = "text", long, placeholder, maxLength, required, autocomplete = "off", autofocus, inputmode,
}) {
  const id = useId();
  const about = hint || error ? `${id}-about` : undefined;
  /** @param {{ currentTarget: { value: string } }} event */
  const input = (event) => onInput(event.currentTarget.value);
  /** @param {{ currentTarget: { value: string } }} event */
  const change = (event) => onChange?.(event.currentTarget.value);
  const attributes = {
    id, value, placeholder, maxlength: maxLength, required, autocomplete, autofocus, inputmode,
    "aria-describedby": about, "aria-invalid": error ? "true" : undefined, onInput: input, onChange: change,
  };
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${long ? html`<textarea rows="3" ...${attributes}></textarea>` : html`<input type=${type} ...${attributes} />`}
    ${about && html`<div id=${about} class=${cx("hint", error && "hint-error")}>${error || hint}</div>`}
  </div>`;
}

/**
 * @param {{ label: string, value: number, min: number, max: number, step: number, onInput: (value: number) => void, hint?: string, unit?: string }} props
 */
export function RangeField({ label, value, min, max, step, onInput, hint, unit = "" }) {
  const id = useId();
  /** @param {{ currentTarget: { value: string } }} event */
  const input = (event) => onInput(Number(event.currentTarget.value));
  const share = ((value - min) / (max - min)) * 100;
  return html`<div class="field field-range">
    <div class="field-head"><label for=${id}>${label}</label><output for=${id}>${value}${unit}</output></div>
    <input id=${id} type="range" min=${min} max=${max} step=${step} value=${value} onInput=${input} style=${{ "--share": `${share}%` }}
      aria-describedby=${hint ? `${id}-about` : undefined} />
    ${hint && html`<div id=${`${id}-about`} class="hint">${hint}</div>`}
  </div>`;
}

/**
 * One choice of a few, as a row of radio buttons.
 * @template {string} V
 * @param {{ label: string, value: V, options: { value: V, label: string, hint?: string, disabled?: boolean }[], onChange: (value: V) => void, hideLabel?: boolean, tall?: boolean }} props
 */
export function Choice({ label, value, options, onChange, hideLabel, tall }) {
  const name = useId();
  return html`<fieldset class=${cx("choice", tall && "choice-tall")}>
    <legend class=${cx(hideLabel && "unseen")}>${label}</legend>
    <div class="choice-row">
      ${options.map((option) => html`<label class=${cx("choice-option", option.value === value && "chosen", option.disabled && "off")}>
        <input type="radio" name=${name} value=${option.value} checked=${option.value === value} disabled=${option.disabled}
          onChange=${() => onChange(option.value)} />
        <span class="choice-label">${option.label}</span>
        ${option.hint && html`<span class="choice-hint">${option.hint}</span>`}
      </label>`)}
    </div>
  </fieldset>`;
}

/** @param {{ label: string, checked: boolean, onChange: (checked: boolean) => void, hint?: string }} props */
export function Switch({ label, checked, onChange, hint }) {
  const id = useId();
  /** @param {{ currentTarget: { checked: boolean } }} event */
  const change = (event) => onChange(event.currentTarget.checked);
  return html`<div class="switch">
    <input id=${id} type="checkbox" role="switch" checked=${checked} onChange=${change} />
    <label for=${id}>${label}${hint && html`<span class="hint">${hint}</span>`}</label>
  </div>`;
}
