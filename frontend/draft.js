/** The new style that someone is in the middle of: survives a look at another page and a reload of this tab. */
import { list, maybe, object, string, withDefault, word } from "./guard.js";
import { getImage } from "./hoop.js";
import * as shapes from "./shapes.js";
import { createStore } from "./store.js";

const builder = word("flatten", "artwork", "diffusion");
const draftShape = object({
  photo: maybe(shapes.image),
  artwork: maybe(shapes.image),
  more: withDefault(list(shapes.image), []),
  base: withDefault(string, ""),
  builder: withDefault(builder, "flatten"),
  preset: withDefault(word("flat", "raised"), "flat"),
  name: withDefault(string, ""),
});
/** @typedef {import("./guard.js").Infer<typeof draftShape>} Draft */
/** @typedef {Draft["builder"]} Builder How the flat design is made; the server's third builder, diffusion, needs a large base. */

const KEY = "hoop.draft";
/** @type {Draft} */
const BLANK = { photo: null, artwork: null, more: [], base: "", builder: "flatten", preset: "flat", name: "" };

function restored() {
  try {
    return draftShape(JSON.parse(sessionStorage.getItem(KEY) ?? "{}"), "");
  } catch {
    return BLANK;
  }
}

export const draft = createStore(restored());
draft.subscribe(() => sessionStorage.setItem(KEY, JSON.stringify(draft.get())));

/** @param {Partial<Draft>} fields */
export const edit = (fields) => draft.set((now) => ({ ...now, ...fields }));
export const discard = () => draft.set(BLANK);

/**
 * Puts a style's photo, artwork and settings back into the draft, to learn it once more.
 * @param {import("./shapes.js").Style} style
 */
export async function draftFrom(style) {
  const photo = await getImage(style.reference_image);
  const artwork = style.artwork_image ? await getImage(style.artwork_image) : null;
  draft.set({
    photo, artwork, more: [], base: style.base ?? "", builder: artwork ? "artwork" : "flatten", preset: style.preset === "raised" ? "raised" : "flat", name: style.name,
  });
}
