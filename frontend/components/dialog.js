import { html, useEffect, useId, useRef, useState } from "../dom.js";
import { Button } from "./button.js";
import { Failure } from "./notice.js";

/**
 * A modal on the native dialog element: it keeps the focus inside, closes on Escape and gives the focus back.
 * @param {{ title: string, onClose: () => void, children?: import("../dom.js").Children, actions?: import("../dom.js").Children }} props
 */
export function Dialog({ title, onClose, children, actions }) {
  const ref = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    dialog?.showModal();
    return () => dialog?.close();
  }, []);
  /** @param {MouseEvent} event */
  const onBackdrop = (event) => event.target === ref.current && onClose();
  return html`<dialog class="dialog" ref=${ref} aria-labelledby=${id} onCancel=${onClose} onClick=${onBackdrop}>
    <div class="dialog-inside">
      <header><h2 id=${id}>${title}</h2><${Button} look="ghost" icon="close" label="Close" onClick=${onClose} /></header>
      <div class="dialog-body">${children}</div>
      ${actions && html`<footer>${actions}</footer>`}
    </div>
  </dialog>`;
}

/**
 * @param {{ title: string, action: string, danger?: boolean, onClose: () => void, onConfirm: () => Promise<unknown>, children?: import("../dom.js").Children }} props
 */
export function Confirm({ title, action, danger, onClose, onConfirm, children }) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const confirm = async () => {
    setBusy(true);
    setError(null);
    try {
      await onConfirm();
      onClose();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  };
  const actions = html`<${Button} look="ghost" onClick=${onClose}>Keep<//>
    <${Button} look=${danger ? "danger" : "primary"} busy=${busy} onClick=${confirm}>${action}<//>`;
  return html`<${Dialog} title=${title} onClose=${onClose} actions=${actions}><p>${children}</p><${Failure} error=${error} /><//>`;
}
