// Numbers, times and spans as people read them, in the language in use.
import { lang, t } from '/assets/i18n.js';

const cached = new Map();
function formatter(key, make) {
  const full = lang.value + key;
  if (!cached.has(full)) cached.set(full, make(lang.value));
  return cached.get(full);
}

/** A whole number with its groups. @param {number} n */
export const count = (n) => formatter('n', (l) => new Intl.NumberFormat(l)).format(n ?? 0);

/** A large number in few digits. @param {number} n */
export const short = (n) =>
  formatter('s', (l) => new Intl.NumberFormat(l === 'zh' ? 'zh-CN' : 'en', { notation: 'compact', maximumFractionDigits: 1 })).format(n ?? 0);

/** Money: enough digits to tell small sums apart. @param {number} n @param {string} currency */
export function money(n, currency = 'USD') {
  const digits = n === 0 || n >= 1 ? 2 : n >= 0.01 ? 3 : 4;
  return formatter(`m${currency}${digits}`, (l) => new Intl.NumberFormat(l, { style: 'currency', currency, minimumFractionDigits: digits, maximumFractionDigits: digits, currencyDisplay: 'narrowSymbol' })).format(n ?? 0);
}

/** A share of 1. @param {number} n */
export const percent = (n) => formatter('p', (l) => new Intl.NumberFormat(l, { style: 'percent', maximumFractionDigits: 1 })).format(n);

/** @param {number|null|undefined} ms */
export function millis(ms) {
  if (ms === null || ms === undefined) return '–';
  if (ms < 1000) return `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  if (ms < 60000) return `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
  return span(ms / 1000);
}

/** How long, in the two largest units. @param {number} seconds */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} ${t('s')}`;
  if (s < 3600) return `${Math.floor(s / 60)} ${t('min')} ${s % 60 ? `${s % 60} ${t('s')}` : ''}`.trim();
  if (s < 172800) return `${Math.floor(s / 3600)} ${t('h')} ${Math.floor((s % 3600) / 60)} ${t('min')}`;
  return `${Math.round(s / 86400)} ${t('d')}`;
}

/** @param {string|number} time */
export function clock(time) {
  return formatter('c', (l) => new Intl.DateTimeFormat(l, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })).format(new Date(time));
}

/** @param {string|number} time */
export function day(time) {
  return formatter('d', (l) => new Intl.DateTimeFormat(l, { year: 'numeric', month: 'short', day: 'numeric' })).format(new Date(time));
}

/** @param {string|number} time */
export function moment(time) {
  return formatter('dt', (l) => new Intl.DateTimeFormat(l, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', hour12: false })).format(new Date(time));
}

/** For the hover of a local time. @param {string|number} time */
export const utc = (time) => new Date(time).toISOString().replace('T', ' ').replace(/\.\d+Z$/, ' UTC');
