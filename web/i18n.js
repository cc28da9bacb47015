// The language: one file each, chosen by the browser and by a switch.
import { signal } from '/assets/vendor/preact.js';
import en from '/assets/en.js';

const kept = read('language');
export const lang = signal(kept || (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en'));
const words = signal(en);

/** @param {string} name */
export function read(name) {
  try { return localStorage.getItem(`gemini-balance.${name}`); } catch { return null; }
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try { localStorage.setItem(`gemini-balance.${name}`, value); } catch { /* a browser may forbid it */ }
}

/** @param {string} to */
export async function speak(to) {
  words.value = to === 'zh' ? (await import('/assets/zh.js')).default : en;
  lang.value = to;
  document.documentElement.lang = to === 'zh' ? 'zh-CN' : 'en';
}

/** What is said under this key, with `{names}` filled in. @param {string} key @param {Record<string, unknown>} [values] */
export function t(key, values) {
  const text = words.value[key] ?? en[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? '')) : text;
}

/** The same, where a key may have no words of its own. @param {string} prefix @param {string} word */
export function word(prefix, word) {
  const key = `${prefix}.${word}`;
  return words.value[key] ?? en[key] ?? word;
}
