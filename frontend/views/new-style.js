import { attemptKey } from "../api.js";
import { html, useEffect, useRef, useState } from "../dom.js";
import { Button } from "../components/button.js";
import { Drop } from "../components/drop.js";
import { Choice, TextField } from "../components/field.js";
import { Failure } from "../components/notice.js";
import { PairReview, usePair } from "../components/pair-review.js";
import { tell } from "../components/toast.js";
import { changeMore, discard, draft, edit } from "../draft.js";
import { createStyle, listBases } from "../hoop.js";
import { go } from "../router.js";
import { useLoaded, useStore } from "../store.js";

/** @typedef {import("../shapes.js").Picture} Picture */

/** @param {{ number: number, title: string, open: boolean, children?: import("../dom.js").Children }} props */
function Step({ number, title, open, children }) {
  return html`<section class=${`step ${open ? "step-open" : ""}`} aria-label=${title}>
    <div class="step-head"><span class="step-number" aria-hidden="true">${number}</span><h2>${title}</h2></div>
    ${open && html`<div class="step-body">${children}</div>`}
  </section>`;
}

/**
 * What the photo shows. Kept when it has been said in full: a model that draws the design would begin anew with every letter.
 * @param {{ value: string, onChange: (caption: string) => void }} props
 */
function Caption({ value, onChange }) {
  const [words, setWords] = useState(value);
  useEffect(() => setWords(value), [value]);
  return html`<${TextField} label="What does it show? (optional)" value=${words} maxLength=${200} placeholder="For example: a red fox"
    onInput=${setWords} onChange=${(/** @type {string} */ said) => onChange(said.trim())}
    hint="A few words for the motif. They help Hoop tell what was sewn from how it was sewn." />`;
}

/**
 * Further photos of the style, so many at most.
 * @param {{ more: Picture[], most: number, onChange: (before: Picture | null, after: Picture | null) => void }} props
 */
function MorePhotos({ more, most, onChange }) {
  const [open, setOpen] = useState(false);
  if (!open && !more.length) {
    return html`<${Button} small look="ghost" icon="plus" onClick=${() => setOpen(true)}>More photos of the same style<//>`;
  }
  const places = more.length < most ? [...more, null] : more;
  return html`<div class="aside"><strong>More photos of the same style</strong>
    <p class="hint">Other motifs in the same stitches, up to ${most}. Hoop draws their flat designs itself. The first photo counts most: choose the best one for it.</p>
    <div class="more-photos">
      ${places.map((picture, index) => html`<${Drop} small key=${picture?.id ?? "next"} label=${picture ? `Photo ${index + 2}` : "Drop another photo"}
        purpose="reference" value=${picture} onChange=${(/** @type {Picture | null} */ changed) => onChange(picture, changed)} />`)}
    </div>
  </div>`;
}

export function NewStyle() {
  const now = useStore(draft);
  const { value: known, loading } = useLoaded(listBases, "bases");
  const bases = known?.data ?? [];
  // A draft may name a base that is gone by now: the default, which comes first, then takes its place.
  const base = bases.find(({ name }) => name === now.base) ?? bases[0];
  const baseName = base?.name ?? "";
  const most = (base?.most_photos ?? 1) - 1;
  const draws = base?.pair_builders.includes("diffusion") ?? false;
  const builder = now.builder === "diffusion" && !draws ? "flatten" : now.builder;
  const pair = usePair({ ...now, photo: loading ? null : now.photo, base: baseName, builder });
  const [own, setOwn] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(/** @type {unknown} */ (null));
  const attempt = useRef(attemptKey());

  /** @param {Picture | null} photo */
  const setPhoto = (photo) => {
    attempt.current = attemptKey();
    edit({ photo });
  };
  /** @param {Picture | null} artwork */
  const setArtwork = (artwork) => edit({ artwork, builder: artwork ? "artwork" : "flatten" });
  /** @param {string} caption */
  const setCaption = (caption) => {
    attempt.current = attemptKey();
    edit({ caption });
  };
  /** @param {Picture | null} before @param {Picture | null} after */
  const setMore = (before, after) => {
    attempt.current = attemptKey();
    changeMore(before, after);
  };
  /** @param {Event} event */
  const submit = async (event) => {
    event.preventDefault();
    if (!now.photo) return;
    setBusy(true);
    setError(null);
    try {
      const body = {
        name: now.name.trim(),
        reference_image: now.photo.id,
        ...(now.artwork && builder === "artwork" ? { artwork_image: now.artwork.id } : {}),
        ...(now.more.length ? { more_images: now.more.map(({ id }) => id) } : {}),
        ...(baseName ? { base: baseName } : {}),
        ...(now.caption ? { caption: now.caption } : {}),
        pair_builder: builder,
        preset: now.preset,
      };
      const style = await createStyle(body, attempt.current);
      discard();
      attempt.current = attemptKey();
      tell(`Hoop is learning “${style.name}”.`);
      go(`/styles/${style.id}`);
    } catch (problem) {
      // Another body needs another key, and whoever mends a mistake sends another body.
      attempt.current = attemptKey();
      setError(problem);
      setBusy(false);
    }
  };

  const showArtwork = own || now.artwork !== null;
  return html`<header class="head">
      <div><a class="crumb" href="#/styles">Styles</a><h1>New style</h1><p class="lead">One good photo is enough. Hoop learns the stitches in it, not the motif.</p></div>
      ${now.photo && html`<${Button} look="ghost" onClick=${() => { discard(); setOwn(false); }}>Start over<//>`}
    </header>
    <div class="steps">
      <${Step} number=${1} title="Photo of the embroidery" open=${true}>
        <div class=${now.photo ? "two" : ""}>
          <${Drop} label=${now.photo ? "Your photo" : "Drop a photo of the embroidery"} purpose="reference" camera paste=${!now.photo} value=${now.photo} onChange=${setPhoto}
            hint="JPEG, PNG, WebP or HEIC, up to 25 MB. From straight above, in even light, filling the frame." />
          ${now.photo && showArtwork && html`<${Drop} small label=${now.artwork ? "Your artwork" : "Drop the artwork it was made from"} purpose="artwork" value=${now.artwork} onChange=${setArtwork}
            hint="The flat drawing or logo. Hoop lines it up with the photo." />`}
          ${now.photo && !showArtwork && html`<div class="aside">
            <strong>Do you still have the artwork?</strong>
            <p class="hint">The flat drawing this embroidery was made from makes the style more exact. Without it, Hoop draws one from the photo.</p>
            <${Button} small icon="plus" onClick=${() => setOwn(true)}>Add the artwork<//>
          </div>`}
        </div>
        ${now.photo && html`<${Caption} value=${now.caption} onChange=${setCaption} />`}
        ${now.photo && (most > 0 || now.more.length > 0) && html`<${MorePhotos} more=${now.more} most=${most} onChange=${setMore} />`}
      <//>
      <${Step} number=${2} title="Stitch and design, told apart" open=${now.photo !== null}>
        <p class="step-lead">Hoop learns what differs between these two. The design on the right should show the same motif in flat colours, with no stitches left in it.</p>
        ${now.photo && html`<${PairReview} state=${pair} photo=${now.photo} />`}
        <div class="pair-choices">
          <${Choice} label="Where the flat design comes from" value=${builder} onChange=${(/** @type {import("../draft.js").Builder} */ chosen) => edit({ builder: chosen })} options=${[
            { value: "flatten", label: "Flatten the photo", hint: "Smooths the stitches away" },
            { value: "artwork", label: "My own design", hint: now.artwork ? "The artwork you added" : "Add the artwork above first", disabled: !now.artwork },
            ...(draws ? [{ value: /** @type {const} */ ("diffusion"), label: "Let the model draw it", hint: "Takes minutes, and may wait for styles that are being learnt" }] : []),
          ]} />
          ${!showArtwork && html`<${Button} small look="ghost" icon="upload" onClick=${() => setOwn(true)}>Not right? Upload your own design<//>`}
          ${bases.length > 1 && html`<${Choice} label="Learnt on" value=${baseName} onChange=${(/** @type {string} */ name) => edit({ base: name })}
            options=${bases.map((one) => ({ value: one.name, label: one.title || one.name }))} />`}
        </div>
      <//>
      <${Step} number=${3} title="Name it, and let it be learnt" open=${pair.ready}>
        <form class="name-form" onSubmit=${submit}>
          <${TextField} label="Name" value=${now.name} onInput=${(/** @type {string} */ name) => edit({ name })} placeholder="For example: Satin on denim" maxLength=${80} required />
          <${Choice} label="What kind of stitches are they?" value=${now.preset} onChange=${(/** @type {"flat" | "raised"} */ preset) => edit({ preset })} options=${[
            { value: "flat", label: "Flat", hint: "Satin, fill, cross stitch: keeps the design's outline and colours" },
            { value: "raised", label: "Raised", hint: "Beads, sequins, towelling: the outline may give way" },
          ]} />
          <${Failure} error=${error} />
          <div class="form-end">
            <${Button} type="submit" look="primary" icon="needle" busy=${busy} disabled=${!now.name.trim()}>Accept the pair and learn<//>
            <span class="hint">Takes a few minutes. You can leave this page meanwhile.</span>
          </div>
        </form>
      <//>
    </div>`;
}
