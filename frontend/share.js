/** The page behind a share link: one customer, no account, most often on a phone. */
import { html, render } from "./dom.js";
import { Toasts } from "./components/toast.js";
import { SharedPage } from "./views/shared.js";

const token = decodeURIComponent(location.pathname.split("/").filter(Boolean)[1] ?? "");

const root = document.getElementById("page");
if (root) render(html`<${SharedPage} token=${token} /><${Toasts} />`, root);
