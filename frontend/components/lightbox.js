import { cx, html, useEffect, useRef, useState } from "../dom.js";
import { Button } from "./button.js";

/** @typedef {{ src: string, alt: string, download?: string }} Slide */

const CLOSEST = 6;
const FIT = { zoom: 1, x: 0, y: 0 };
/** Pixels that a finger may slip and still have tapped. */
const SLIP = 8;

/**
 * Pictures at full size: a tap looks closely, or steps back; wheel, pinch, buttons or + and - zoom, dragging moves, arrows go on, Escape closes.
 * @param {{ slides: Slide[], start: number, onClose: () => void }} props
 */
export function Lightbox({ slides, start, onClose }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [index, setIndex] = useState(start);
  const [view, setView] = useState(FIT);
  const stage = useRef(/** @type {HTMLElement | null} */ (null));
  const slipped = useRef(0);
  const fingers = useRef(/** @type {Map<number, { x: number, y: number }>} */ (new Map()));

  useEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);

  /**
   * What is at a place of the screen stays there; without one, what is in the middle.
   * @param {number} factor @param {{ x: number, y: number }} [place]
   */
  const zoomBy = (factor, place) =>
    setView((now) => {
      const zoom = Math.min(CLOSEST, Math.max(1, now.zoom * factor));
      const kept = zoom / now.zoom;
      const box = stage.current?.getBoundingClientRect();
      const [x, y] = box && place ? [place.x - box.left - box.width / 2, place.y - box.top - box.height / 2] : [0, 0];
      return zoom === 1 ? FIT : { zoom, x: x - (x - now.x) * kept, y: y - (y - now.y) * kept };
    });
  /** @param {MouseEvent} event */
  const onTap = (event) => {
    // The second click of a double one would only take the first one back.
    if (event.detail > 1 || slipped.current > SLIP) return;
    if (view.zoom > 1) return setView(FIT);
    // Every pixel of the picture gets one of the screen at least, or a tap on a large picture would show no more of it.
    const img = stage.current?.querySelector("img");
    const full = img ? Math.max(img.naturalWidth / img.clientWidth, img.naturalHeight / img.clientHeight) / devicePixelRatio : 1;
    zoomBy(Math.max(2.5, full), { x: event.clientX, y: event.clientY });
  };
  /** @param {number} by */
  const turn = (by) => {
    setIndex((now) => (now + by + slides.length) % slides.length);
    setView(FIT);
  };
  /** @param {KeyboardEvent} event */
  const onKey = (event) => {
    if (event.key === "ArrowRight" && slides.length > 1) turn(1);
    else if (event.key === "ArrowLeft" && slides.length > 1) turn(-1);
    else if (event.key === "+" || event.key === "=") zoomBy(1.4);
    else if (event.key === "-") zoomBy(1 / 1.4);
    else return;
    event.preventDefault();
  };
  /** @param {PointerEvent & { currentTarget: Element }} event */
  const onDown = (event) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    if (!fingers.current.size) slipped.current = 0;
    fingers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
  };
  const spread = () => {
    const [a, b] = [...fingers.current.values()];
    return a && b ? Math.hypot(a.x - b.x, a.y - b.y) : 0;
  };
  /** @param {PointerEvent} event */
  const onMove = (event) => {
    const last = fingers.current.get(event.pointerId);
    if (!last) return;
    const before = spread();
    slipped.current += Math.hypot(event.clientX - last.x, event.clientY - last.y);
    fingers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const [a, b] = [...fingers.current.values()];
    if (a && b && before > 0) zoomBy(spread() / before, { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
    else setView((now) => (now.zoom === 1 ? now : { ...now, x: now.x + event.clientX - last.x, y: now.y + event.clientY - last.y }));
  };
  /** @param {PointerEvent} event */
  const onUp = (event) => fingers.current.delete(event.pointerId);
  /** @param {WheelEvent} event */
  const onWheel = (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15, { x: event.clientX, y: event.clientY });
  };

  const slide = slides[index];
  if (!slide) return null;
  return html`<dialog class="lightbox" ref=${dialog} aria-label="Picture, enlarged" onCancel=${onClose} onKeyDown=${onKey}>
    <div class=${cx("lightbox-stage", view.zoom > 1 && "lightbox-close")} ref=${stage} onClick=${onTap} onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerCancel=${onUp} onWheel=${onWheel}>
      <img src=${slide.src} alt=${slide.alt} draggable=${false} style=${{ transform: `translate(${view.x}px, ${view.y}px) scale(${view.zoom})` }} />
    </div>
    <div class="lightbox-bar">
      ${slides.length > 1 && html`<${Button} look="ghost" icon="back" label="Previous picture" onClick=${() => turn(-1)} />
        <span class="lightbox-count">${index + 1} of ${slides.length}</span>
        <${Button} look="ghost" icon="next" label="Next picture" onClick=${() => turn(1)} />`}
      <span class="lightbox-gap"></span>
      <${Button} look="ghost" icon="zoom" label="Enlarge" onClick=${() => zoomBy(1.6)} />
      ${slide.download && html`<${Button} look="ghost" icon="download" label="Download" href=${slide.src} download=${slide.download} />`}
      <${Button} look="ghost" icon="close" label="Close" onClick=${onClose} />
    </div>
  </dialog>`;
}
