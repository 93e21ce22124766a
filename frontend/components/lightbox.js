import { html, useEffect, useRef, useState } from "../dom.js";
import { Button } from "./button.js";

/** @typedef {{ src: string, alt: string, download?: string }} Slide */

const CLOSEST = 6;

/**
 * Pictures at full size: wheel, pinch, buttons or + and - zoom, dragging moves, arrows go on, Escape closes.
 * @param {{ slides: Slide[], start: number, onClose: () => void }} props
 */
export function Lightbox({ slides, start, onClose }) {
  const dialog = useRef(/** @type {HTMLDialogElement | null} */ (null));
  const [index, setIndex] = useState(start);
  const [view, setView] = useState({ zoom: 1, x: 0, y: 0 });
  const fingers = useRef(/** @type {Map<number, { x: number, y: number }>} */ (new Map()));

  useEffect(() => {
    dialog.current?.showModal();
    return () => dialog.current?.close();
  }, []);

  /** @param {number} factor */
  const zoomBy = (factor) =>
    setView((now) => {
      const zoom = Math.min(CLOSEST, Math.max(1, now.zoom * factor));
      const kept = zoom / now.zoom;
      return zoom === 1 ? { zoom: 1, x: 0, y: 0 } : { zoom, x: now.x * kept, y: now.y * kept };
    });
  /** @param {number} by */
  const turn = (by) => {
    setIndex((now) => (now + by + slides.length) % slides.length);
    setView({ zoom: 1, x: 0, y: 0 });
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
    fingers.current.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.current.size === 2 && before > 0) zoomBy(spread() / before);
    else setView((now) => (now.zoom === 1 ? now : { ...now, x: now.x + event.clientX - last.x, y: now.y + event.clientY - last.y }));
  };
  /** @param {PointerEvent} event */
  const onUp = (event) => fingers.current.delete(event.pointerId);
  /** @param {WheelEvent} event */
  const onWheel = (event) => {
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
  };

  const slide = slides[index];
  if (!slide) return null;
  return html`<dialog class="lightbox" ref=${dialog} aria-label="Picture, enlarged" onCancel=${onClose} onKeyDown=${onKey}>
    <div class="lightbox-stage" onPointerDown=${onDown} onPointerMove=${onMove} onPointerUp=${onUp} onPointerCancel=${onUp} onWheel=${onWheel}
      onDblClick=${() => (view.zoom > 1 ? setView({ zoom: 1, x: 0, y: 0 }) : zoomBy(2.5))}>
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
