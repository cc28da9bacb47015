// What the page asks the listener, and what it hears of it: requests with the session's cookie, and one stream of events.
import { signal, batch, useEffect, useState, useCallback, useRef } from '/assets/vendor/preact.js';
import { t } from '/assets/i18n.js';

/** Whether somebody is logged in; `null` until that is known. */
export const open = signal(/** @type {boolean|null} */ (null));
export const version = signal('');
/** What the stream says. */
export const overview = signal(/** @type {any} */ (null));
export const newest = signal(/** @type {any[]} */ ([]));
/** `live`, `waiting` or `off`. */
export const stream = signal('waiting');

export class Failed extends Error {
  /** @param {number} status @param {string} message */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks, and returns what is answered. @param {string} path @param {{method?: string, body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [how] */
export async function ask(path, how = {}) {
  const method = how.method || 'GET';
  const headers = { ...(method === 'GET' ? {} : { 'x-gemini-balance': '1' }), ...(how.body === undefined ? {} : { 'content-type': 'application/json' }), ...how.headers };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: how.body === undefined ? undefined : JSON.stringify(how.body), signal: how.signal });
  } catch (error) {
    if (how.signal?.aborted) throw error;
    throw new Failed(0, t('no.gateway'));
  }
  const text = await answer.text();
  let body = null;
  try { body = JSON.parse(text); } catch { /* said below */ }
  if (answer.ok) return body;
  const ended = path !== '/session' && (answer.status === 401 || answer.status === 403);
  if (ended && (await ask('/session').catch(() => null))?.open === false) open.value = false;
  throw new Failed(answer.status, body?.error || `${answer.status} ${answer.statusText}`);
}

/** Asks again and again while the view is there. @param {string} path @param {number} [everyMs] */
export function useAsked(path, everyMs = 0) {
  const [state, setState] = useState(/** @type {{data: any, error: Error|null, path: string}} */ ({ data: null, error: null, path }));
  const [turn, setTurn] = useState(0);
  const again = useCallback(() => setTurn((n) => n + 1), []);
  const current = useRef(path);
  current.current = path;
  useEffect(() => {
    const stop = new AbortController();
    let timer = 0;
    const look = async () => {
      let wait = everyMs;
      if (!document.hidden) {
        try {
          const data = await ask(path, { signal: stop.signal });
          if (stop.signal.aborted) return;
          setState({ data, error: null, path });
        } catch (error) {
          if (stop.signal.aborted) return;
          setState((before) => ({ data: before.path === path ? before.data : null, error: /** @type {Error} */ (error), path }));
          wait = 5000;
        }
      }
      if (wait && open.value) timer = setTimeout(look, wait);
    };
    look();
    return () => { stop.abort(); clearTimeout(timer); };
  }, [path, everyMs, turn]);
  const isOld = state.path !== path;
  return { data: isOld ? null : state.data, error: isOld ? null : state.error, again };
}

let source = /** @type {EventSource|null} */ (null);
const KEPT = 200;

/** Opens the stream while somebody looks. */
export function listen() {
  const wanted = open.value === true && !document.hidden;
  if (!wanted) {
    source?.close();
    source = null;
    stream.value = 'off';
    return;
  }
  if (source) return;
  source = new EventSource('/events?topics=overview,requests');
  let fresh = true;
  source.addEventListener('open', () => { stream.value = 'live'; fresh = true; });
  source.addEventListener('overview', (event) => {
    const changed = JSON.parse(event.data);
    batch(() => { overview.value = { ...(overview.value || {}), ...changed }; stream.value = 'live'; });
  });
  source.addEventListener('requests', (event) => {
    const rows = JSON.parse(event.data);
    newest.value = (fresh ? rows : [...rows, ...newest.value]).slice(0, KEPT);
    fresh = false;
  });
  source.addEventListener('trouble', () => { stream.value = 'waiting'; });
  source.addEventListener('error', () => {
    stream.value = 'waiting';
    // One that is refused does not come back by itself.
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      ask('/session').then((it) => { open.value = it.open; }).catch(() => {});
      setTimeout(listen, 3000);
    }
  });
}
document.addEventListener('visibilitychange', listen);

/** @param {{token?: string, code?: string}} with_ */
export async function logIn(with_) {
  await ask('/session', { method: 'POST', body: with_ });
  open.value = true;
}

export async function logOut() {
  await ask('/session', { method: 'DELETE' }).catch(() => {});
  open.value = false;
}
