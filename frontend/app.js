/** The page of the shop's staff: who is there, which view the address names, and the frame around it. */
import { connection } from "./api.js";
import { cx, html, render, useEffect, useRef } from "./dom.js";
import { Button } from "./components/button.js";
import { Icon, Mark } from "./components/icon.js";
import { Empty } from "./components/notice.js";
import { Toasts } from "./components/toast.js";
import { useRoute } from "./router.js";
import { identify, session } from "./session.js";
import { useStore } from "./store.js";
import { Jobs } from "./views/jobs.js";
import { NewStyle } from "./views/new-style.js";
import { RenderPage } from "./views/render.js";
import { Renders } from "./views/renders.js";
import { Settings } from "./views/settings.js";
import { SignIn } from "./views/sign-in.js";
import { Studio } from "./views/studio.js";
import { StylePage } from "./views/style.js";
import { Styles } from "./views/styles.js";

/** @type {{ path: string, name: string, icon: string }[]} */
const PLACES = [
  { path: "styles", name: "Styles", icon: "styles" },
  { path: "studio", name: "Studio", icon: "needle" },
  { path: "previews", name: "Previews", icon: "previews" },
  { path: "activity", name: "Activity", icon: "activity" },
  { path: "settings", name: "Settings", icon: "settings" },
];

/** @param {import("./router.js").Route} route @returns {{ title: string, place: string, view: import("./dom.js").VNode }} */
function viewOf({ parts, query }) {
  const [place = "styles", id] = parts;
  if (place === "styles" && id) return { title: "Style", place, view: html`<${StylePage} key=${id} id=${id} />` };
  if (place === "styles") return { title: "Styles", place, view: html`<${Styles} />` };
  if (place === "new") return { title: "New style", place: "styles", view: html`<${NewStyle} />` };
  if (place === "studio") return { title: "Studio", place, view: html`<${Studio} style=${query.get("style")} />` };
  if (place === "previews" && id) return { title: "Preview", place, view: html`<${RenderPage} key=${id} id=${id} />` };
  if (place === "previews") return { title: "Previews", place, view: html`<${Renders} />` };
  if (place === "activity") return { title: "Activity", place, view: html`<${Jobs} />` };
  if (place === "settings") return { title: "Settings", place, view: html`<${Settings} />` };
  const home = html`<${Button} look="primary" href="#/styles">Go to your styles<//>`;
  return { title: "Not found", place: "", view: html`<${Empty} title="There is no such page" action=${home}>The address may be old, or mistyped.<//>` };
}

/** Looks for the server while it does not answer. */
function Connection() {
  const state = useStore(connection);
  useEffect(() => {
    const lost = () => connection.set("down");
    addEventListener("offline", lost);
    return () => removeEventListener("offline", lost);
  }, []);
  useEffect(() => {
    if (state === "up") return;
    const timer = setInterval(() => {
      fetch("/healthz", { cache: "no-store" }).then((response) => response.ok && connection.set("up"), () => {});
    }, 3000);
    return () => clearInterval(timer);
  }, [state]);
  return html`<div class=${cx("connection", state === "down" && "connection-down")} role="status" aria-live="polite">
    ${state === "down" && html`<span class="spinner" aria-hidden="true"></span><span>Hoop does not answer. Your work here is kept; trying again…</span>`}
  </div>`;
}

/** @param {{ shop: string }} props */
function Shell({ shop }) {
  const route = useRoute();
  const { title, place, view } = viewOf(route);
  const main = useRef(/** @type {HTMLElement | null} */ (null));
  const first = useRef(true);
  useEffect(() => {
    document.title = `${title} · Hoop`;
    // A new view starts at its top, with the focus on it, as a new page would.
    if (!first.current) {
      scrollTo(0, 0);
      main.current?.focus({ preventScroll: true });
    }
    first.current = false;
  }, [route.path]);
  return html`<div class="shell">
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => { event.preventDefault(); main.current?.focus(); }}>Skip to content</a>
    <aside class="rail">
      <a class="brand" href="#/styles" aria-label="Hoop, to the styles"><${Mark} size=${30} /><span>Hoop</span></a>
      <nav aria-label="Main">
        ${PLACES.map((item) => html`<a key=${item.path} href=${`#/${item.path}`} class=${cx("rail-link", item.path === place && "here")}
          aria-current=${item.path === place ? "page" : undefined}><${Icon} name=${item.icon} /><span>${item.name}</span></a>`)}
      </nav>
      <p class="rail-shop">${shop}</p>
    </aside>
    <main ref=${main} id="main" tabindex="-1">${view}</main>
  </div>`;
}

function Page() {
  const now = useStore(session);
  useEffect(() => { identify(); }, []);
  return html`
    <${Connection} />
    ${now.state === "asking" && html`<div class="splash" role="status"><${Mark} size=${56} /><span class="unseen">Opening Hoop</span></div>`}
    ${now.state === "out" && html`<${SignIn} error=${now.error} />`}
    ${now.state === "in" && html`<${Shell} shop=${now.me.shop.name} />`}
    <${Toasts} />`;
}

const root = document.getElementById("page");
if (root) render(html`<${Page} />`, root);
