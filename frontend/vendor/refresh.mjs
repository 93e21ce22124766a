// Copies the ES modules of preact and htm out of node_modules. Run by `npm run vendor` after a change of version.
// The one edit: preact's hooks import "preact" by bare name, which a browser resolves only through an import map, and an
// import map is an inline script that our Content-Security-Policy refuses.
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";

const here = new URL("./", import.meta.url);
const modules = new URL("../node_modules/", import.meta.url);

/** @param {string} from @param {string} to */
function vendor(from, to) {
  const text = readFileSync(new URL(from, modules), "utf8")
    .replace(/from"preact"/g, 'from"./preact.js"')
    .replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
  writeFileSync(new URL(to, here), text);
}

vendor("preact/dist/preact.mjs", "preact.js");
vendor("preact/hooks/dist/hooks.mjs", "hooks.js");
vendor("htm/dist/htm.mjs", "htm.js");
copyFileSync(new URL("preact/LICENSE", modules), new URL("LICENSE.preact", here));
copyFileSync(new URL("htm/LICENSE", modules), new URL("LICENSE.htm", here));
