import { html, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { TextField } from "../components/field.js";
import { Mark } from "../components/icon.js";
import { Failure, Notice } from "../components/notice.js";
import { replace, useRoute } from "../router.js";
import { identify, signInWithKey } from "../session.js";

/** What is shown without a session. @param {{ error: unknown }} props */
export function SignIn({ error }) {
  const [key, setKey] = useState("");
  const [busy, setBusy] = useState(false);
  const usedLink = useRoute().query.get("login") === "used";
  const [refusal, setRefusal] = useState(/** @type {unknown} */ (null));
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setRefusal(null);
    try {
      await signInWithKey(key.trim());
      if (usedLink) replace("/");
    } catch (problem) {
      setRefusal(problem);
      setBusy(false);
    }
  };
  return html`<main class="door">
    <div class="door-card">
      <${Mark} size=${52} />
      <h1>Welcome to Hoop</h1>
      <p class="lead">One photo of an embroidery in, previews of any design in that embroidery out. Please sign in to your shop.</p>
      <${Failure} error=${error} retry=${identify} />
      ${usedLink && html`<${Notice} kind="warning">This login link was used already or is too old. Please make a new one.<//>`}
      <section>
        <h2>With a login link</h2>
        <p>Hoop prints one when it starts. This command makes a new one; it works once.</p>
        <pre class="command"><code>hoop login-link</code></pre>
      </section>
      <div class="door-or"><span>or</span></div>
      <form onSubmit=${submit}>
        <h2>With an API key</h2>
        <${TextField} label="API key" value=${key} onInput=${setKey} placeholder="hoop_live_…" type="password" autocomplete="off"
          hint="Kept in this tab only, until you close it." />
        <${Failure} error=${refusal} />
        <${Button} type="submit" look="primary" wide busy=${busy} disabled=${!key.trim()}>Sign in<//>
      </form>
    </div>
  </main>`;
}
