/** A value that tells its readers when it changes: all the state management this page needs. */
import { useEffect, useState } from "./dom.js";

/**
 * @template T
 * @typedef {{ get: () => T, set: (next: T | ((now: T) => T)) => void, subscribe: (listener: () => void) => () => void }} Store
 */

/**
 * @template T
 * @param {T} initial
 * @returns {Store<T>}
 */
export function createStore(initial) {
  let value = initial;
  /** @type {Set<() => void>} */
  const listeners = new Set();
  return {
    get: () => value,
    set(next) {
      const changed = typeof next === "function" ? /** @type {(now: T) => T} */ (next)(value) : next;
      if (Object.is(changed, value)) return;
      value = changed;
      for (const listener of [...listeners]) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/**
 * The store's value; the component draws itself anew when it changes.
 * @template T
 * @param {Store<T>} store
 * @returns {T}
 */
export function useStore(store) {
  const [value, setValue] = useState(() => store.get());
  useEffect(() => {
    const update = () => setValue(() => store.get());
    update();
    return store.subscribe(update);
  }, [store]);
  return value;
}

/**
 * What a page waits for: `undefined` while it loads, then a value or an error.
 * @template T
 * @typedef {{ value: T | undefined, error: unknown, loading: boolean, reload: () => void, put: (value: T) => void }} Loaded
 */

/**
 * Runs `load` on mount and whenever `key` changes; an answer that arrives late is dropped.
 * @template T
 * @param {(signal: AbortSignal) => Promise<T>} load
 * @param {string} key
 * @returns {Loaded<T>}
 */
export function useLoaded(load, key) {
  const [state, setState] = useState(
    /** @type {{ key: string, value: T | undefined, error: unknown, loading: boolean }} */ ({
      key, value: undefined, error: null, loading: true,
    }),
  );
  const [round, setRound] = useState(0);
  useEffect(() => {
    const abort = new AbortController();
    setState((now) => ({ key, value: now.key === key ? now.value : undefined, error: null, loading: true }));
    load(abort.signal).then(
      (value) => abort.signal.aborted || setState({ key, value, error: null, loading: false }),
      (error) => abort.signal.aborted || setState((now) => ({ ...now, error, loading: false })),
    );
    return () => abort.abort();
  }, [key, round]);
  const stale = state.key !== key;
  return {
    value: stale ? undefined : state.value,
    error: stale ? null : state.error,
    loading: stale || state.loading,
    reload: () => setRound((now) => now + 1),
    put: (value) => setState({ key, value, error: null, loading: false }),
  };
}
