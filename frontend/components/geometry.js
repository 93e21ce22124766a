/** Plane geometry of placing a patch on a garment. Points are [x, y] in the garment picture's pixels, y down. */

/** @typedef {[number, number]} Point */
/** Corners in the order top left, top right, bottom right, bottom left. @typedef {[Point, Point, Point, Point]} Quad */

/**
 * A rectangle of the given width, turned about its middle.
 * @param {Point} centre @param {number} width @param {number} height @param {number} degrees clockwise
 * @returns {Quad}
 */
export function rectangle([cx, cy], width, height, degrees) {
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  /** @param {number} x @param {number} y @returns {Point} */
  const corner = (x, y) => [cx + x * cos - y * sin, cy + x * sin + y * cos];
  const [w, h] = [width / 2, height / 2];
  return [corner(-w, -h), corner(w, -h), corner(w, h), corner(-w, h)];
}

/** @param {Quad} quad @returns {Point} */
export function middle(quad) {
  return [quad.reduce((sum, [x]) => sum + x, 0) / 4, quad.reduce((sum, [, y]) => sum + y, 0) / 4];
}

/** @param {Quad} quad @param {(point: Point) => Point} move @returns {Quad} */
export const mapQuad = (quad, move) => [move(quad[0]), move(quad[1]), move(quad[2]), move(quad[3])];

/** @param {Quad} quad @param {number} factor @returns {Quad} */
export function scaled(quad, factor) {
  const [cx, cy] = middle(quad);
  return mapQuad(quad, ([x, y]) => [cx + (x - cx) * factor, cy + (y - cy) * factor]);
}

/** @param {Quad} quad @param {number} degrees clockwise @returns {Quad} */
export function turned(quad, degrees) {
  const [cx, cy] = middle(quad);
  const angle = (degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return mapQuad(quad, ([x, y]) => [cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos]);
}

/** Whether the corners go round once without a dent, which a perspective view needs. @param {Quad} quad */
export function isConvex(quad) {
  let sign = 0;
  for (let at = 0; at < 4; at += 1) {
    const [a, b, c] = [quad[at % 4], quad[(at + 1) % 4], quad[(at + 2) % 4]];
    if (!a || !b || !c) return false;
    const cross = (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]);
    if (Math.abs(cross) < 1 || (sign !== 0 && Math.sign(cross) !== sign)) return false;
    sign = Math.sign(cross);
  }
  return true;
}

/**
 * CSS transform that draws a box of `width` x `height` pixels (origin top left) onto the quad, in perspective.
 * The square-to-quad mapping of Heckbert, "Fundamentals of Texture Mapping and Image Warping" (1989), 2.2.
 * @param {Quad} quad @param {number} width @param {number} height
 */
export function matrix3d([[x0, y0], [x1, y1], [x2, y2], [x3, y3]], width, height) {
  const [dx1, dx2, sx] = [x1 - x2, x3 - x2, x0 - x1 + x2 - x3];
  const [dy1, dy2, sy] = [y1 - y2, y3 - y2, y0 - y1 + y2 - y3];
  const whole = dx1 * dy2 - dx2 * dy1 || 1e-9;
  const g = (sx * dy2 - dx2 * sy) / whole;
  const h = (dx1 * sy - sx * dy1) / whole;
  const [a, b] = [x1 - x0 + g * x1, x3 - x0 + h * x3];
  const [d, e] = [y1 - y0 + g * y1, y3 - y0 + h * y3];
  const entries = [
    a / width, d / width, 0, g / width,
    b / height, e / height, 0, h / height,
    0, 0, 1, 0,
    x0, y0, 0, 1,
  ];
  return `matrix3d(${entries.map((entry) => entry.toFixed(8)).join(", ")})`;
}
