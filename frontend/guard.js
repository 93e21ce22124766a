/**
 * Guards check JSON that comes from outside before the page believes it. A guard takes a value and its path, and returns the
 * value with its type or throws `ShapeError`. Fields that a shape does not name are dropped, so the server may add some.
 */

/** @template T @typedef {(value: unknown, path: string) => T} Guard */
/** @template G @typedef {G extends Guard<infer T> ? T : never} Infer */

export class ShapeError extends Error {
  /** @param {string} path @param {string} wanted */
  constructor(path, wanted) {
    super(`The server's answer has no ${wanted} at ${path || "its root"}.`);
    this.name = "ShapeError";
  }
}

/** @type {Guard<string>} */
export const string = (value, path) => {
  if (typeof value !== "string") throw new ShapeError(path, "text");
  return value;
};

/** A finite number. @type {Guard<number>} */
export const number = (value, path) => {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new ShapeError(path, "number");
  return value;
};

/** @type {Guard<boolean>} */
export const boolean = (value, path) => {
  if (typeof value !== "boolean") throw new ShapeError(path, "true or false");
  return value;
};

/** @type {Guard<unknown>} */
export const anything = (value) => value;

/** Any JSON object, its fields unchecked. @type {Guard<Record<string, unknown>>} */
export const record = (value, path) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new ShapeError(path, "object");
  return /** @type {Record<string, unknown>} */ (value);
};

/**
 * Missing and null both become null.
 * @template T @param {Guard<T>} guard @returns {Guard<T | null>}
 */
export const maybe = (guard) => (value, path) => (value === undefined || value === null ? null : guard(value, path));

/**
 * Missing and null both become `fallback`.
 * @template T @param {Guard<T>} guard @param {T} fallback @returns {Guard<T>}
 */
export const withDefault = (guard, fallback) => (value, path) =>
  value === undefined || value === null ? fallback : guard(value, path);

/** @template T @param {Guard<T>} guard @returns {Guard<T[]>} */
export const list = (guard) => (value, path) => {
  if (!Array.isArray(value)) throw new ShapeError(path, "list");
  return value.map((item, index) => guard(item, `${path}[${index}]`));
};

/**
 * One of the given words.
 * @template {string} W @param {...W} words @returns {Guard<W>}
 */
export const word = (...words) => (value, path) => {
  const found = words.find((known) => known === value);
  if (found === undefined) throw new ShapeError(path, `one of ${words.join(", ")}`);
  return found;
};

/**
 * @template {Record<string, Guard<any>>} S
 * @param {S} shape
 * @returns {Guard<{ [K in keyof S]: Infer<S[K]> }>}
 */
export const object = (shape) => (value, path) => {
  const source = record(value, path);
  const result = /** @type {Record<string, unknown>} */ ({});
  for (const [key, guard] of Object.entries(shape)) {
    result[key] = guard(source[key], path ? `${path}.${key}` : key);
  }
  return /** @type {any} */ (result);
};
