/** Where the embroidery goes on the garment: drag it, drag its corners, or use size, turn and the arrow keys. */
import { html, useEffect, useRef, useState } from "../dom.js";
import { isConvex, mapQuad, matrix3d, middle, rectangle, scaled, turned } from "./geometry.js";
import { Button } from "./button.js";
import { RangeField } from "./field.js";

/** @typedef {import("./geometry.js").Quad} Quad */
/** @typedef {import("./geometry.js").Point} Point */

const CORNERS = ["Top left", "Top right", "Bottom right", "Bottom left"];
const BOX = 200;

/**
 * A square patch on the chest, a third of the garment wide: designs are padded to squares before they are stitched.
 * @param {import("../shapes.js").Picture} garment
 * @returns {Quad}
 */
export function firstPlace(garment) {
  const side = Math.min(garment.width, garment.height) * 0.32;
  return rectangle([garment.width / 2, garment.height * 0.42], side, side, 0);
}

/**
 * @param {{
 *   garment: import("../shapes.js").Picture, design: string | null, quad: Quad, onChange: (quad: Quad) => void,
 * }} props
 */
export function Placement({ garment, design, quad, onChange }) {
  const frame = useRef(/** @type {HTMLDivElement | null} */ (null));
  const [shown, setShown] = useState(0);
  const [turn, setTurn] = useState(0);
  const drag = useRef(/** @type {{ corner: number, x: number, y: number, quad: Quad } | null} */ (null));

  useEffect(() => {
    if (!frame.current) return;
    const watch = new ResizeObserver(([entry]) => entry && setShown(entry.contentRect.width));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);

  const zoom = shown / garment.width || 0;
  /** Keeps every corner on the picture: the server refuses places outside it. @param {Quad} next */
  const change = (next) => {
    const inside = mapQuad(next, ([x, y]) => [Math.min(garment.width, Math.max(0, x)), Math.min(garment.height, Math.max(0, y))]);
    if (isConvex(inside)) onChange(inside);
  };
  /** Moves the whole as far as the picture goes. @param {Quad} from @param {number} dx @param {number} dy */
  const shift = (from, dx, dy) => {
    const xs = from.map(([x]) => x);
    const ys = from.map(([, y]) => y);
    const mx = Math.min(garment.width - Math.max(...xs), Math.max(-Math.min(...xs), dx));
    const my = Math.min(garment.height - Math.max(...ys), Math.max(-Math.min(...ys), dy));
    change(mapQuad(from, ([x, y]) => [x + mx, y + my]));
  };
  /** @param {Quad} from @param {number} corner @param {number} dx @param {number} dy */
  const pull = (from, corner, dx, dy) => {
    const next = /** @type {Quad} */ (from.map((point, at) => (at === corner ? [point[0] + dx, point[1] + dy] : point)));
    change(next);
  };
  /** @param {number} corner -1 is the whole patch */
  const handlers = (corner) => ({
    /** @param {PointerEvent & { currentTarget: HTMLElement }} event */
    onPointerDown: (event) => {
      event.currentTarget.setPointerCapture(event.pointerId);
      event.currentTarget.focus();
      drag.current = { corner, x: event.clientX, y: event.clientY, quad };
      event.preventDefault();
    },
    /** @param {PointerEvent} event */
    onPointerMove: (event) => {
      const start = drag.current;
      if (!start || start.corner !== corner) return;
      const [dx, dy] = [(event.clientX - start.x) / zoom, (event.clientY - start.y) / zoom];
      if (corner < 0) shift(start.quad, dx, dy);
      else pull(start.quad, corner, dx, dy);
    },
    onPointerUp: () => (drag.current = null),
    onPointerCancel: () => (drag.current = null),
    /** @param {KeyboardEvent} event */
    onKeyDown: (event) => {
      const step = (garment.width / 200) * (event.shiftKey ? 8 : 1);
      const dx = event.key === "ArrowLeft" ? -step : event.key === "ArrowRight" ? step : 0;
      const dy = event.key === "ArrowUp" ? -step : event.key === "ArrowDown" ? step : 0;
      if (!dx && !dy) return;
      event.preventDefault();
      if (corner < 0) shift(quad, dx, dy);
      else pull(quad, corner, dx, dy);
    },
  });

  const width = Math.hypot(quad[1][0] - quad[0][0], quad[1][1] - quad[0][1]);
  const sizeNow = Math.round((width / garment.width) * 100);
  /** @param {number} percent */
  const resize = (percent) => change(scaled(quad, ((percent / 100) * garment.width) / width));
  /** @param {number} degrees */
  const rotate = (degrees) => {
    change(turned(quad, degrees - turn));
    setTurn(degrees);
  };
  const [mx, my] = middle(quad);
  const here = `${Math.round((mx / garment.width) * 100)} % from the left, ${Math.round((my / garment.height) * 100)} % from the top`;

  return html`<div class="placement">
    <div class="placement-frame" ref=${frame} style=${{ aspectRatio: `${garment.width} / ${garment.height}` }}>
      <img class="placement-garment" src=${garment.url} alt="Garment" draggable=${false} />
      ${zoom > 0 && html`
        <div class="placement-patch" role="group" tabindex="0" aria-label=${`Embroidery, ${here}. Arrow keys move it.`} ...${handlers(-1)}
          style=${{ width: `${BOX}px`, height: `${BOX}px`, transform: matrix3d(mapQuad(quad, ([x, y]) => [x * zoom, y * zoom]), BOX, BOX) }}>
          ${design ? html`<img src=${design} alt="" draggable=${false} />` : html`<span>Your design</span>`}
        </div>
        ${quad.map(([x, y], corner) => html`<button type="button" key=${corner} class="placement-corner" aria-label=${`${CORNERS[corner]} corner. Arrow keys move it.`}
          style=${{ left: `${x * zoom}px`, top: `${y * zoom}px` }} ...${handlers(corner)}></button>`)}`}
    </div>
    <div class="placement-dials">
      <${RangeField} label="Size" unit=" %" min=${5} max=${90} step=${1} value=${sizeNow} onInput=${resize} />
      <${RangeField} label="Turn" unit="°" min=${-180} max=${180} step=${1} value=${turn} onInput=${rotate} />
      <${Button} small look="ghost" icon="repeat" onClick=${() => { setTurn(0); change(firstPlace(garment)); }}>Start over<//>
    </div>
  </div>`;
}
