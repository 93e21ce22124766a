/** The place a picture is given: dropped, chosen, taken with the camera or pasted. It is uploaded at once. */
import { cx, html, useEffect, useId, useRef, useState } from "../dom.js";
import { uploadImage } from "../hoop.js";
import { Button } from "./button.js";
import { Icon } from "./icon.js";
import { Failure, Warnings } from "./notice.js";
import { Plate } from "./picture.js";

const ACCEPT = "image/jpeg,image/png,image/webp,image/heic,image/heif,.heic,.heif";

/** The first picture in what was pasted or dropped. @param {DataTransfer | null} data */
const firstFile = (data) => (data ? ([...data.files].find((file) => file.type.startsWith("image/")) ?? data.files[0]) : undefined);

/**
 * @param {{
 *   label: string, hint?: string, purpose: "reference" | "artwork" | "design" | "garment", value: import("../shapes.js").Picture | null,
 *   onChange: (picture: import("../shapes.js").Picture | null) => void, camera?: boolean, paste?: boolean, small?: boolean,
 *   send?: (file: File, onProgress: (share: number) => void, signal: AbortSignal) => Promise<import("../shapes.js").Picture>,
 * }} props `send` replaces the upload of staff; customers with a share link have their own.
 */
export function Drop({ label, hint, purpose, value, onChange, camera, paste, small, send }) {
  const id = useId();
  const [over, setOver] = useState(false);
  const [sending, setSending] = useState(/** @type {{ name: string, share: number, local: string } | null} */ (null));
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const abort = useRef(/** @type {AbortController | null} */ (null));
  const last = useRef(/** @type {File | null} */ (null));
  const picker = useRef(/** @type {HTMLInputElement | null} */ (null));

  /** @param {File | undefined | null} file */
  const take = async (file) => {
    if (!file) return;
    abort.current?.abort();
    const controller = new AbortController();
    abort.current = controller;
    last.current = file;
    const local = URL.createObjectURL(file);
    setError(null);
    setSending({ name: file.name, share: 0, local });
    try {
      /** @param {number} share */
      const onProgress = (share) => setSending({ name: file.name, share, local });
      const picture = await (send ? send(file, onProgress, controller.signal) : uploadImage(file, purpose, onProgress, controller.signal));
      if (!controller.signal.aborted) onChange(picture);
    } catch (problem) {
      if (!controller.signal.aborted) setError(problem);
    } finally {
      URL.revokeObjectURL(local);
      if (abort.current === controller) setSending(null);
    }
  };

  useEffect(() => () => abort.current?.abort(), []);
  useEffect(() => {
    if (!paste) return;
    /** @param {ClipboardEvent} event */
    const onPaste = (event) => {
      const file = firstFile(event.clipboardData);
      if (!file) return;
      event.preventDefault();
      take(file);
    };
    document.addEventListener("paste", onPaste);
    return () => document.removeEventListener("paste", onPaste);
  }, [paste, purpose]);

  /** @param {DragEvent} event */
  const onDrop = (event) => {
    event.preventDefault();
    setOver(false);
    take(firstFile(event.dataTransfer));
  };
  /** @param {DragEvent} event */
  const onOver = (event) => {
    event.preventDefault();
    setOver(true);
  };
  /** @param {{ currentTarget: HTMLInputElement }} event */
  const onPick = (event) => {
    take(event.currentTarget.files?.[0]);
    // The same file can be picked again after an error.
    event.currentTarget.value = "";
  };

  const drag = { onDragOver: onOver, onDragEnter: onOver, onDragLeave: () => setOver(false), onDrop };
  const input = html`<input class="unseen" ref=${picker} id=${id} type="file" accept=${ACCEPT} onChange=${onPick} aria-label=${label} />`;
  const retry = last.current && error ? () => take(last.current) : null;

  if (value && !sending) {
    return html`<div class=${cx("drop-done", small && "drop-small", over && "over")} ...${drag}>
      <${Plate} src=${value.url} alt=${label} />
      <div class="drop-about">
        <strong>${label}</strong>
        <span class="hint">${value.width} × ${value.height} pixels</span>
        <div class="drop-actions">
          ${input}
          <${Button} small onClick=${() => picker.current?.click()}>Replace<//>
          <${Button} small look="ghost" onClick=${() => { setError(null); onChange(null); }}>Remove<//>
        </div>
      </div>
      <${Warnings} warnings=${value.warnings} />
      <${Failure} error=${error} retry=${retry} />
    </div>`;
  }
  return html`<div class=${cx("drop", small && "drop-small", over && "over", sending && "sending")} ...${drag}>
    ${input}
    ${sending
      ? html`<div class="drop-sending" role="status">
          <span class="drop-ring"><progress value=${sending.share} max="1" aria-label=${`Uploading ${sending.name}`}></progress></span>
          <strong>${sending.share < 1 ? "Uploading" : "Checking the picture"}</strong>
          <span class="hint">${sending.name}</span>
          <${Button} small look="ghost" onClick=${() => { abort.current?.abort(); setSending(null); }}>Stop<//>
        </div>`
      : html`<label class="drop-label" for=${id}>
          <span class="drop-ring"><${Icon} name=${small ? "plus" : "upload"} size=${small ? 20 : 24} /></span>
          <strong>${label}</strong>
          <span class="hint">${hint}</span>
          <span class="button button-plain button-small" aria-hidden="true"><span>Choose a picture</span></span>
        </label>
        ${camera && html`<label class="button button-plain button-small drop-camera">
          <${Icon} name="camera" size=${16} /><span>Take a photo</span>
          <input class="unseen" type="file" accept="image/*" capture="environment" onChange=${onPick} />
        </label>`}`}
    <${Failure} error=${error} retry=${retry} />
  </div>`;
}
