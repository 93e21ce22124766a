import { html, useEffect, useRef, useState } from "../dom.js";
import { createShare } from "../hoop.js";
import { Button } from "./button.js";
import { Dialog } from "./dialog.js";
import { Choice, Switch } from "./field.js";
import { Failure } from "./notice.js";
import { tell } from "./toast.js";

const DAY = 86400;

/** @param {string} text @param {HTMLInputElement | null} field */
async function copy(text, field) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // The clipboard is closed to pages that are not on https: the selected text can still be copied by hand.
    field?.select();
    return document.execCommand("copy");
  }
}

/**
 * Makes a link for a customer. Its secret is shown once; it can be taken back in the settings.
 * @param {{ target: { style: string } | { render: string }, name: string, onClose: () => void }} props
 */
export function ShareDialog({ target, name, onClose }) {
  const ofStyle = "style" in target;
  const [days, setDays] = useState("30");
  const [may, setMay] = useState({ brief: ofStyle, upload: ofStyle, approve: !ofStyle });
  const [link, setLink] = useState(/** @type {string | null} */ (null));
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));

  useEffect(() => field.current?.select(), [link]);

  const create = async () => {
    setBusy(true);
    setError(null);
    try {
      const allowed = ["preview", ...(may.brief ? ["brief"] : []), ...(may.upload ? ["upload"] : []), ...(may.approve ? ["approve"] : [])];
      const share = await createShare({ ...target, expires_in: Number(days) * DAY, may: allowed });
      setLink(new URL(share.url ?? "", location.origin).href);
    } catch (problem) {
      setError(problem);
    }
    setBusy(false);
  };
  const onCopy = async () => {
    if (link && (await copy(link, field.current))) tell("Link copied.");
  };
  const send = async () => {
    try {
      await navigator.share({ url: link ?? "", title: name });
    } catch {
      // Whoever closes the sheet has changed their mind.
    }
  };

  const actions = link
    ? html`${"share" in navigator && html`<${Button} icon="share" onClick=${send}>Send…<//>`}<${Button} look="primary" onClick=${onClose}>Done<//>`
    : html`<${Button} look="ghost" onClick=${onClose}>Cancel<//><${Button} look="primary" icon="link" busy=${busy} onClick=${create}>Make the link<//>`;
  return html`<${Dialog} title=${`Share “${name}”`} onClose=${onClose} actions=${actions}>
    ${link
      ? html`<p>Anyone with this link sees ${ofStyle ? "this style" : "this preview"}, and nothing else of your shop. It is shown only now.</p>
          <div class="copy-row">
            <input ref=${field} class="copy-field" readonly value=${link} aria-label="Share link" onFocus=${() => field.current?.select()} />
            <${Button} icon="copy" onClick=${onCopy}>Copy<//>
          </div>`
      : html`<p>A customer opens the link without an account, on a phone or a computer.</p>
          <${Choice} label="The link works for" value=${days} onChange=${setDays} options=${[
            { value: "7", label: "A week" }, { value: "30", label: "30 days" }, { value: "90", label: "90 days" },
          ]} />
          <fieldset class="switches"><legend>The customer may</legend>
            <${Switch} label="Describe a design in words" checked=${may.brief} onChange=${(/** @type {boolean} */ brief) => setMay({ ...may, brief })} />
            <${Switch} label="Upload a design" checked=${may.upload} onChange=${(/** @type {boolean} */ upload) => setMay({ ...may, upload })} />
            <${Switch} label="Approve a preview" checked=${may.approve} onChange=${(/** @type {boolean} */ approve) => setMay({ ...may, approve })} hint="You see it in the settings, among the links." />
          </fieldset>
          <${Failure} error=${error} />`}
  <//>`;
}
