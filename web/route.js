// The address: which view is shown, and what it was asked for. It survives a reload and the back button.
import { signal } from '/assets/vendor/preact.js';

function readAddress() {
  const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
  const parts = path.split('/').map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return { view: parts[0] || 'overview', rest: parts.slice(1), query: new URLSearchParams(query || '') };
}

export const route = signal(readAddress());
addEventListener('hashchange', () => { route.value = readAddress(); });

/** The address of a view. @param {string} view @param {Record<string, string|undefined>} [query] @param {string} [rest] */
export function address(view, query = {}, rest) {
  const kept = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(/** @type {any} */ (kept)).toString();
  return `#/${view}${rest ? `/${encodeURIComponent(rest)}` : ''}${text ? `?${text}` : ''}`;
}

/** Changes what the view is asked for, without a step for the back button. @param {Record<string, string|undefined>} query */
export function refine(query) {
  const { view, rest, query: now } = route.value;
  const all = { ...Object.fromEntries(now), ...query };
  history.replaceState(null, '', address(view, all, rest[0]));
  route.value = readAddress();
}
