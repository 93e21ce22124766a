/**
 * Calls to Hoop's REST API. Every answer passes a guard; every failure becomes one of
 *   Problem  the server's problem+json (RFC 9457), with a sentence for people in `detail`
 *   Offline  nothing came back
 */
import { createStore } from "./store.js";

export class Problem extends Error {
  /**
   * @param {number} status
   * @param {{ type?: unknown, title?: unknown, detail?: unknown, errors?: unknown }} body
   */
  constructor(status, body) {
    const title = typeof body.title === "string" ? body.title : "Something went wrong";
    super(typeof body.detail === "string" && body.detail ? body.detail : title);
    this.name = "Problem";
    this.status = status;
    this.title = title;
    /** The last part of the problem's type, such as "not-an-image". */
    this.slug = typeof body.type === "string" ? (body.type.split("/").pop() ?? "") : "";
    this.errors = Array.isArray(body.errors) ? body.errors : [];
  }
}

export class Offline extends Error {
  constructor() {
    super("Hoop does not answer. Check your connection; your work here is kept and the page tries again by itself.");
    this.name = "Offline";
  }
}

/** "up" while calls come through; "down" after one did not. */
export const connection = createStore(/** @type {"up" | "down"} */ ("up"));

/** Grows each time the server says 401: the session has ended, or the key was revoked. */
export const refusals = createStore(0);

const KEY = "hoop.api-key";
/** An API key or share token for this tab alone; null means the session cookie speaks for us. */
export const credential = createStore(/** @type {string | null} */ (sessionStorage.getItem(KEY)));

/** @param {string | null} key */
export function rememberKey(key) {
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
  credential.set(key);
}

/** @param {Record<string, string>} [more] @returns {Record<string, string>} */
export function headers(more = {}) {
  const key = credential.get();
  return { Accept: "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}), ...more };
}

/** A key for one attempt to create something: a repeat after a lost answer creates nothing twice. */
export function attemptKey() {
  // crypto.randomUUID exists only on https and localhost; a phone in the shop's network has neither.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {unknown} error */
const aborted = (error) => error instanceof DOMException && error.name === "AbortError";

/**
 * @typedef {object} CallOptions
 * @property {unknown} [body] Sent as JSON.
 * @property {AbortSignal} [signal]
 * @property {string} [key] Idempotency key.
 */

/**
 * One request with a bare answer.
 * @param {string} method @param {string} path @param {CallOptions} [options]
 * @returns {Promise<Response>}
 */
export async function request(method, path, { body, signal, key } = {}) {
  /** @type {Record<string, string>} */
  const extra = {};
  if (body !== undefined) extra["Content-Type"] = "application/json";
  if (key) extra["Idempotency-Key"] = key;
  let response;
  try {
    response = await fetch(path, {
      method,
      headers: headers(extra),
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      credentials: "same-origin",
    });
  } catch (error) {
    if (aborted(error)) throw error;
    connection.set("down");
    throw new Offline();
  }
  connection.set("up");
  if (!response.ok) throw await problemOf(response);
  return response;
}

/** @param {Response} response */
async function problemOf(response) {
  if (response.status === 401 && !response.url.endsWith("/v1/me")) refusals.set((now) => now + 1);
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, typeof body === "object" && body !== null ? body : {});
}

/**
 * @template T
 * @param {string} method @param {string} path
 * @param {import("./guard.js").Guard<T>} guard
 * @param {CallOptions} [options]
 * @returns {Promise<T>}
 */
export async function call(method, path, guard, options) {
  const response = await request(method, path, options);
  return guard(response.status === 204 ? null : await response.json(), "");
}

export const UPLOAD_LIMIT_MB = 25;

/**
 * Sends a file as multipart/form-data. XMLHttpRequest, because fetch tells nothing about upload progress.
 * @template T
 * @param {string} path @param {File} file @param {Record<string, string>} fields
 * @param {import("./guard.js").Guard<T>} guard
 * @param {(share: number) => void} onProgress Share sent, 0 to 1.
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
export function upload(path, file, fields, guard, onProgress, signal) {
  if (file.size > UPLOAD_LIMIT_MB * 1024 * 1024) {
    return Promise.reject(
      new Problem(413, {
        title: "This file is too large",
        detail: `“${file.name}” is ${Math.round(file.size / 1024 / 1024)} MB. Hoop takes pictures up to ${UPLOAD_LIMIT_MB} MB.`,
      }),
    );
  }
  return new Promise((resolve, reject) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value);
    form.append("file", file, file.name || "pasted.png");
    const xhr = new XMLHttpRequest();
    xhr.open("POST", path);
    for (const [name, value] of Object.entries(headers())) xhr.setRequestHeader(name, value);
    xhr.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    xhr.onerror = () => {
      connection.set("down");
      reject(new Offline());
    };
    xhr.onabort = () => reject(new DOMException("Upload stopped", "AbortError"));
    xhr.onload = () => {
      connection.set("up");
      /** @type {unknown} */
      let body = {};
      try {
        body = JSON.parse(xhr.responseText);
      } catch {
        // A proxy in between may answer with HTML; the status says enough.
      }
      if (xhr.status >= 400) return reject(new Problem(xhr.status, /** @type {Record<string, unknown>} */ (body)));
      try {
        resolve(guard(body, ""));
      } catch (error) {
        reject(error);
      }
    };
    signal?.addEventListener("abort", () => xhr.abort());
    xhr.send(form);
  });
}
