/** Lists that go on: the next page is fetched when its end comes near, or by the button. */
import { html, useCallback, useEffect, useRef, useState } from "../dom.js";
import { Button } from "./button.js";

/**
 * @template T
 * @typedef {{
 *   rows: T[], error: unknown, first: boolean, loading: boolean, more: boolean,
 *   next: () => void, reload: () => void, refresh: () => void, change: (edit: (rows: T[]) => T[]) => void,
 * }} Pages `first` is true until the first answer; `refresh` fetches the first page anew without a blank in between.
 */

/**
 * @template {{ id: string }} T
 * @param {(cursor: string | null, signal: AbortSignal) => Promise<{ data: T[], next_cursor: string | null }>} load
 * @param {string} key Another key starts anew.
 * @returns {Pages<T>}
 */
export function usePages(load, key) {
  const blank = { rows: /** @type {T[]} */ ([]), cursor: /** @type {string | null} */ (null), first: true, loading: true, error: /** @type {unknown} */ (null) };
  const [state, setState] = useState(blank);
  const abort = useRef(/** @type {AbortController | null} */ (null));

  /** @param {string | null} cursor */
  const fetchPage = async (cursor) => {
    abort.current?.abort();
    const controller = new AbortController();
    abort.current = controller;
    setState((now) => ({ ...now, loading: true, error: null }));
    try {
      const page = await load(cursor, controller.signal);
      if (controller.signal.aborted) return;
      setState((now) => {
        const known = new Set(page.data.map((row) => row.id));
        // Rows that moved between pages while we read are shown once.
        const rows = cursor ? [...now.rows.filter((row) => !known.has(row.id)), ...page.data] : page.data;
        return { rows, cursor: page.next_cursor, first: false, loading: false, error: null };
      });
    } catch (error) {
      if (!controller.signal.aborted) setState((now) => ({ ...now, loading: false, error }));
    }
  };

  useEffect(() => {
    setState(blank);
    fetchPage(null);
    return () => abort.current?.abort();
  }, [key]);

  return {
    rows: state.rows, error: state.error, first: state.first, loading: state.loading, more: state.cursor !== null,
    next: useCallback(() => { if (state.cursor && !state.loading) fetchPage(state.cursor); }, [state.cursor, state.loading]),
    reload: () => { setState(blank); fetchPage(null); },
    refresh: () => { fetchPage(null); },
    change: (edit) => setState((now) => ({ ...now, rows: edit(now.rows) })),
  };
}

/** @param {{ pages: Pages<any> }} props */
export function MoreRows({ pages }) {
  const end = useRef(/** @type {HTMLDivElement | null} */ (null));
  useEffect(() => {
    if (!end.current || !pages.more || pages.error) return;
    const watch = new IntersectionObserver(([entry]) => entry?.isIntersecting && pages.next(), { rootMargin: "600px" });
    watch.observe(end.current);
    return () => watch.disconnect();
  }, [pages.next, pages.more, pages.error]);
  if (!pages.more) return null;
  return html`<div class="more" ref=${end}><${Button} busy=${pages.loading} onClick=${pages.next}>Show more<//></div>`;
}
