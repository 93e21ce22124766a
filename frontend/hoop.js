/** The calls this page makes, one line each; shapes.js says what comes back. */
import { attemptKey, call, request, upload } from "./api.js";
import * as shapes from "./shapes.js";

/** @param {Record<string, string | number | null | undefined>} fields */
function query(fields) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== null && value !== undefined && value !== "") search.set(name, String(value));
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

/** @typedef {AbortSignal | undefined} Signal */

/** @param {Signal} [signal] */
export const getMe = (signal) => call("GET", "/v1/me", shapes.me, { signal });
export const logout = () => request("POST", "/v1/logout");

/**
 * @param {File} file @param {"reference" | "artwork" | "design" | "garment"} purpose
 * @param {(share: number) => void} onProgress @param {Signal} [signal]
 */
export const uploadImage = (file, purpose, onProgress, signal) =>
  upload("/v1/images", file, { purpose }, shapes.image, onProgress, signal);

/** @param {string} id @param {Signal} [signal] */
export const getImage = (id, signal) => call("GET", `/v1/images/${id}`, shapes.image, { signal });

/** @param {{ reference_image: string, artwork_image?: string, builder: string, base?: string, caption?: string }} body */
export const createPair = (body) => call("POST", "/v1/pairs", shapes.pair, { body, key: attemptKey() });
/** @param {string} id @param {Signal} [signal] */
export const getPair = (id, signal) => call("GET", `/v1/pairs/${id}`, shapes.pair, { signal });

/** @param {string | null} cursor @param {Signal} [signal] @param {number} [limit] */
export const listStyles = (cursor, signal, limit = 50) =>
  call("GET", `/v1/styles${query({ cursor, limit })}`, shapes.page(shapes.style), { signal });
/** @param {string} id @param {Signal} [signal] */
export const getStyle = (id, signal) => call("GET", `/v1/styles/${id}`, shapes.style, { signal });
/** @param {Record<string, unknown>} body @param {string} key */
export const createStyle = (body, key) => call("POST", "/v1/styles", shapes.style, { body, key });
/** @param {string} id @param {string} name */
export const renameStyle = (id, name) => call("PATCH", `/v1/styles/${id}`, shapes.style, { body: { name } });
/** @param {string} id */
export const deleteStyle = (id) => request("DELETE", `/v1/styles/${id}`);

/** @param {{ cursor?: string | null, style?: string | null, limit?: number }} filter @param {Signal} [signal] */
export const listRenders = (filter, signal) =>
  call("GET", `/v1/renders${query(filter)}`, shapes.page(shapes.render), { signal });
/** @param {string} id @param {Signal} [signal] */
export const getRender = (id, signal) => call("GET", `/v1/renders/${id}`, shapes.render, { signal });
/** @param {Record<string, unknown>} body @param {string} key */
export const createRender = (body, key) => call("POST", "/v1/renders", shapes.render, { body, key });
/** @param {string} id */
export const deleteRender = (id) => request("DELETE", `/v1/renders/${id}`);

/** @param {{ cursor?: string | null, limit?: number }} filter @param {Signal} [signal] */
export const listJobs = (filter, signal) => call("GET", `/v1/jobs${query(filter)}`, shapes.page(shapes.job), { signal });
/** @param {string} id @param {Signal} [signal] */
export const getJob = (id, signal) => call("GET", `/v1/jobs/${id}`, shapes.job, { signal });
/** @param {string} id */
export const cancelJob = (id) => call("POST", `/v1/jobs/${id}/cancel`, shapes.job);

/** @param {{ style?: string, render?: string, expires_in: number, may: string[] }} body */
export const createShare = (body) => call("POST", "/v1/shares", shapes.share, { body, key: attemptKey() });
/** @param {string | null} cursor @param {Signal} [signal] */
export const listShares = (cursor, signal) =>
  call("GET", `/v1/shares${query({ cursor })}`, shapes.page(shapes.share), { signal });
/** @param {string} id */
export const revokeShare = (id) => request("DELETE", `/v1/shares/${id}`);

/** @param {Signal} [signal] */
export const getUsage = (signal) => call("GET", "/v1/usage", shapes.usage, { signal });
/** @param {Signal} [signal] */
export const listBases = (signal) => call("GET", "/v1/bases", shapes.bases, { signal });

/** The customer's side: the token in the link is the permission. @param {string} token */
const shared = (token) => `/v1/shared/${encodeURIComponent(token)}`;
/** @param {string} token @param {Signal} [signal] */
export const getShared = (token, signal) => call("GET", shared(token), shapes.shared, { signal });
/** @param {string} token @param {File} file @param {(share: number) => void} onProgress @param {Signal} [signal] */
export const uploadShared = (token, file, onProgress, signal) =>
  upload(`${shared(token)}/images`, file, { purpose: "design" }, shapes.image, onProgress, signal);
/** @param {string} token @param {Record<string, unknown>} body */
export const createSharedRender = (token, body) =>
  call("POST", `${shared(token)}/renders`, shapes.render, { body, key: attemptKey() });
/** @param {string} token @param {Signal} [signal] */
export const listSharedRenders = (token, signal) =>
  call("GET", `${shared(token)}/renders?limit=12`, shapes.page(shapes.render), { signal });
/** @param {string} token @param {string} id @param {Signal} [signal] */
export const getSharedRender = (token, id, signal) => call("GET", `${shared(token)}/renders/${id}`, shapes.render, { signal });
/** @param {string} token @param {string} id */
export const sharedEvents = (token, id) => `${shared(token)}/renders/${id}/events`;
/** @param {string} token @param {{ render?: string, index?: number, name?: string, note?: string }} body */
export const approveShared = (token, body) => call("POST", `${shared(token)}/approve`, shapes.shared, { body });
