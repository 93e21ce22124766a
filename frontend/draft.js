/** The new style that someone is in the middle of: survives a look at another page and a reload of this tab. */
import { Problem } from "./api.js";
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
  caption: withDefault(string, ""),
});
/** @typedef {import("./guard.js").Infer<typeof draftShape>} Draft */
/** @typedef {import("./shapes.js").Picture} Picture */
/** @typedef {Draft["builder"]} Builder How the flat design is made; the server's third builder, diffusion, needs a large base. */

const KEY = "hoop.draft";
/** @type {Draft} */
const BLANK = { photo: null, artwork: null, more: [], base: "", builder: "flatten", preset: "flat", name: "", caption: "" };

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
 * Puts one of the further photos in another's place, adds one (`before` is null) or takes one away (`after` is null). By id, since
 * other photos may come and go while one is uploaded; the same photo once more only moves.
 * @param {Picture | null} before @param {Picture | null} after
 */
export const changeMore = (before, after) => draft.set((now) => {
  const added = after ? [after] : [];
  const others = now.more.filter(({ id }) => id === before?.id || id !== after?.id);
  return { ...now, more: before ? others.flatMap((one) => (one.id === before.id ? added : one)) : [...others, ...added] };
});

/** A picture, or null when it was deleted. @param {string} id */
const ifThere = (id) =>
  getImage(id).catch((error) => {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  });

/**
 * Puts a style's photos, artwork and settings back into the draft, to learn it once more.
 * @param {import("./shapes.js").Style} style
 */
export async function draftFrom(style) {
  const photo = await getImage(style.reference_image);
  const artwork = style.artwork_image ? await getImage(style.artwork_image) : null;
  const more = (await Promise.all(style.more_images.map(ifThere))).filter((picture) => picture !== null);
  draft.set({
    photo, artwork, more, base: style.base ?? "", builder: artwork ? "artwork" : "flatten", preset: style.preset === "raised" ? "raised" : "flat", name: style.name,
    caption: style.caption ?? "",
  });
}
