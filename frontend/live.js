/**
 * Follows a job while it runs: server-sent events first, polling when they fail.
 *
 * The stream is read through fetch, not EventSource, since only fetch can send an API key and tells why it was refused.
 * After a break it asks for what it missed by Last-Event-ID. After three breaks in a row it polls with ETags instead.
 */
import { connection, headers, Problem } from "./api.js";
import { useEffect, useState } from "./dom.js";
import { getJob, getSharedRender, sharedEvents } from "./hoop.js";
import * as shapes from "./shapes.js";

/** @typedef {import("./shapes.js").Job} Job */
/** @typedef {"live" | "polling" | "offline"} Link How news of the job reaches us. */

const OVER = new Set(["succeeded", "failed", "canceled", "expired"]);
/** @param {{ status: string }} job */
export const isOver = (job) => OVER.has(job.status);

/** @typedef {{ id: string, type: string, data: string }} Message */

/**
 * Splits a text/event-stream into messages (HTML Living Standard, 9.2.6).
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<Message>}
 */
export async function* messages(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let message = { id: "", type: "message", data: "" };
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "") {
          if (message.data || message.type !== "message") yield { ...message, data: message.data.replace(/\n$/, "") };
          message = { id: message.id, type: "message", data: "" };
          continue;
        }
        const [, field = "", text = ""] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? [];
        if (field === "data") message.data += `${text}\n`;
        else if (field === "event") message.type = text;
        else if (field === "id") message.id = text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * What an event changes in the job; null when the job must be fetched anew.
 * @param {Job} job @param {string} type @param {unknown} data
 * @returns {Job | null}
 */
function applied(job, type, data) {
  const fields = typeof data === "object" && data !== null ? /** @type {Record<string, unknown>} */ (data) : {};
  if (type === "progress") {
    const news = shapes.progress(fields, "progress");
    return {
      ...job,
      status: job.status === "queued" || job.status === "starting" ? "processing" : job.status,
      queue_position: null,
      progress: { ...news, preview_url: news.preview_url ?? job.progress.preview_url },
    };
  }
  if (type === "preview" && typeof fields["url"] === "string") {
    return { ...job, progress: { ...job.progress, preview_url: shapes.address(fields["url"], "url") } };
  }
  return null;
}

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} */
const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

/**
 * Where news of a job comes from.
 * @typedef {{ look: (signal: AbortSignal) => Promise<Job>, events: string }} Source
 */

/** @param {string} id @returns {Source} */
const ofJob = (id) => ({ look: (signal) => getJob(id, signal), events: `/v1/jobs/${id}/events` });

/**
 * A customer may not look at jobs, only at the renders of their link; what a render tells is enough to follow it.
 * @param {string} token @param {shapes.Render} render @returns {Source}
 */
export const ofShared = (token, render) => ({
  look: async (signal) => shapes.job({ ...(await getSharedRender(token, render.id, signal)), kind: "render" }, ""),
  events: sharedEvents(token, render.id),
});

/**
 * Calls back with every change until the job is over or `signal` stops it.
 * @param {Source} source
 * @param {(job: Job, link: Link) => void} onChange
 * @param {(error: unknown) => void} onError A job that cannot be followed at all: unknown, or not ours.
 * @param {AbortSignal} signal
 */
export async function follow(source, onChange, onError, signal) {
  /** @type {Job | null} */
  let job = null;
  let lastEvent = "";
  let breaks = 0;
  /** @param {Job} next @param {Link} link */
  const tell = (next, link) => {
    // An answer without progress of its own does not wipe out what the stream has told.
    job = next.progress.stage === null && job && !isOver(next) ? { ...next, progress: job.progress } : next;
    if (!signal.aborted) onChange(job, link);
  };

  const stream = async () => {
    const response = await fetch(source.events, {
      headers: headers({ Accept: "text/event-stream", ...(lastEvent ? { "Last-Event-ID": lastEvent } : {}) }),
      signal,
      cache: "no-store",
    });
    if (!response.ok || !response.body) throw new Error(`stream refused: ${response.status}`);
    connection.set("up");
    for await (const message of messages(response.body)) {
      if (message.id) lastEvent = message.id;
      breaks = 0;
      let data;
      try {
        data = JSON.parse(message.data || "null");
      } catch {
        continue;
      }
      const next = job && !isOver(job) ? applied(job, message.type, data) : null;
      tell(next ?? (await source.look(signal)), "live");
      if (job && isOver(job)) return;
    }
  };

  while (!signal.aborted) {
    try {
      tell(await source.look(signal), breaks < 3 ? "live" : "polling");
      if (job && isOver(job)) return;
      if (breaks < 3) {
        // A stream that ends is a break too, unless the job ended with it.
        breaks += 1;
        await stream();
        if (job && isOver(job)) return;
        continue;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status < 500 && error.status !== 429) return onError(error);
      if (job && connection.get() === "down") onChange(job, "offline");
    }
    await pause(breaks < 3 ? 600 * breaks : 2000, signal);
  }
}

/**
 * @param {string | null | undefined} id
 * @param {(id: string) => Source} [from] Staff look at the job itself.
 * @returns {{ job: Job | null, link: Link, error: unknown, put: (job: Job) => void }}
 */
export function useJob(id, from = ofJob) {
  const [state, setState] = useState(
    /** @type {{ id: string | null | undefined, job: Job | null, link: Link, error: unknown }} */ ({
      id, job: null, link: "live", error: null,
    }),
  );
  useEffect(() => {
    if (!id) return;
    const abort = new AbortController();
    setState({ id, job: null, link: "live", error: null });
    follow(
      from(id),
      (job, link) => setState({ id, job, link, error: null }),
      (error) => setState((now) => ({ ...now, error })),
      abort.signal,
    );
    return () => abort.abort();
  }, [id]);
  const mine = state.id === id;
  return {
    job: mine ? state.job : null,
    link: state.link,
    error: mine ? state.error : null,
    put: (job) => setState((now) => ({ ...now, job })),
  };
}
