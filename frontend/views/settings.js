import { html, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Confirm } from "../components/dialog.js";
import { Choice } from "../components/field.js";
import { Failure, Loading } from "../components/notice.js";
import { MoreRows, usePages } from "../components/pages.js";
import { tell } from "../components/toast.js";
import { getUsage, listShares, revokeShare } from "../hoop.js";
import { session, signOut, theme } from "../session.js";
import { useLoaded, useStore } from "../store.js";
import { duration, moment, plural, size } from "../words.js";

/** @param {{ title: string, children?: import("../dom.js").Children }} props */
const Block = ({ title, children }) => html`<section class="panel" aria-label=${title}><h2>${title}</h2>${children}</section>`;

/** @param {import("../guard.js").Infer<typeof import("../shapes.js").usage>} usage @returns {[string, string][]} */
function usageRows({ days, used, quotas }) {
  const today = days.find(({ day }) => day === new Date().toISOString().slice(0, 10));
  return [
    ["Previews made", String(today?.renders ?? 0)],
    ["Styles learnt", String(today?.trainings ?? 0)],
    ["Computing time", `${used.gpu_seconds < 1 ? "none yet" : duration(used.gpu_seconds)} of ${duration(quotas.gpu_seconds)}`],
    ["Pictures kept", `${size(used.storage_bytes)} of ${size(quotas.storage_bytes)}`],
  ];
}

function Usage() {
  const { value, error, reload } = useLoaded(getUsage, "usage");
  if (error) return html`<${Failure} error=${error} retry=${reload} />`;
  if (!value) return html`<${Loading} kind="row" count=${2} />`;
  return html`<dl class="figures">${usageRows(value).map(([name, figure]) => html`<div><dt>${name}</dt><dd>${figure}</dd></div>`)}</dl>`;
}

/** @param {import("../shapes.js").Share} share */
function approvalWords({ may, approved_at, approval }) {
  if (approved_at) return `Approved${approval?.name ? ` by ${approval.name}` : ""}${approval?.note ? `: “${approval.note}”` : ""}. Open`;
  return may.includes("approve") ? "Not approved yet. Open" : "Open";
}

function Links() {
  const pages = usePages((cursor, signal) => listShares(cursor, signal), "shares");
  const [revoking, setRevoking] = useState(/** @type {string | null} */ (null));
  if (pages.error) return html`<${Failure} error=${pages.error} retry=${pages.reload} />`;
  if (pages.first) return html`<${Loading} kind="row" count=${2} />`;
  const open = pages.rows.filter(({ revoked_at, expires_at }) => !revoked_at && Date.parse(expires_at ?? "") > Date.now());
  if (!open.length) return html`<p class="hint">No links are open. Make one from a preview or a style.</p>`;
  return html`<ul class="rows">
      ${open.map((share) => html`<li key=${share.id}><div>
          <a href=${share.render ? `#/previews/${share.render}` : `#/styles/${share.style}`}>${share.render ? "A preview" : "A style"}</a>
          <span class="hint">${approvalWords(share)} until ${moment(share.expires_at)}</span></div>
        <${Button} small onClick=${() => setRevoking(share.id)}>Take back<//></li>`)}
    </ul>
    <${MoreRows} pages=${pages} />
    ${revoking && html`<${Confirm} title="Take this link back?" action="Take back" danger onClose=${() => setRevoking(null)}
      onConfirm=${async () => { await revokeShare(revoking); pages.refresh(); tell("The link no longer works."); }}>
      Whoever has it sees nothing any more. ${plural(open.length, "link is", "links are")} open in all.
    <//>`}`;
}

export function Settings() {
  const now = useStore(session);
  const look = useStore(theme);
  const [busy, setBusy] = useState(false);
  if (now.state !== "in") return null;
  return html`<header class="head"><h1>Settings</h1></header>
    <div class="settings">
      <${Block} title="Your shop">
        <dl class="figures"><div><dt>Shop</dt><dd>${now.me.shop.name}</dd></div>
          <div><dt>Signed in</dt><dd>${now.me.user?.email || "with an API key"}</dd></div></dl>
        <${Button} icon="logout" busy=${busy} onClick=${() => { setBusy(true); signOut(); }}>Sign out<//>
      <//>
      <${Block} title="Look"><${Choice} label="Colours" hideLabel value=${look} onChange=${(/** @type {import("../session.js").Theme} */ value) => theme.set(value)} options=${[
        { value: "system", label: "As the system" }, { value: "light", label: "Light" }, { value: "dark", label: "Dark" },
      ]} /><//>
      <${Block} title="Today"><${Usage} /><//>
      <${Block} title="Links to customers"><${Links} /><//>
      <${Block} title="For programmers">
        <p>Everything on this page can be done by a program. The demo shop's API key is in the file <code>demo-key</code> of Hoop's data folder. This command makes another one and shows it once:</p>
        <pre class="command"><code>hoop key create --name "Web shop"</code></pre>
        <p class="hint">A program sends it as <code>Authorization: Bearer hoop_live_…</code>. All calls are described in <a href="/openapi.json">openapi.json</a>.</p>
      <//>
    </div>`;
}
