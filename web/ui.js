// The pieces that views are made of. Whatever comes from outside is a text node.
import { html, useLayoutEffect, useRef, useState, signal } from '/assets/vendor/preact.js';
import { t, word } from '/assets/i18n.js';
import { clock, count, moment, short, span, utc } from '/assets/format.js';

const TONES = {
  available: 'good', up: 'good', active: 'good', probation: 'warn', cooling: 'warn', starting: 'warn', degraded: 'warn', restarting: 'warn', alone: 'warn',
  retired: 'bad', down: 'bad', failed: 'bad', expired: 'bad', given_up: 'bad', silent: 'bad', disabled: 'off', shadowed: 'off', off: 'off',
};

/** How a state is coloured. @param {string} state */
export const tone = (state) => TONES[state] || 'off';

/** A state: a shape and a word. */
export function State({ state }) {
  return html`<span class=${`state ${tone(state)}`}><i></i>${word('state', state)}</span>`;
}

export function Status({ status, end, by }) {
  const tone = end === 'client_left' ? 'off' : status >= 500 || status === 0 ? 'bad' : status === 429 ? 'warn' : status >= 400 ? 'off' : end && end !== 'complete' ? 'bad' : 'good';
  const said = end && end !== 'complete' && end !== 'refused' ? word('end', end) : by ? word('by', by) : '';
  return html`<span class=${`state ${tone}`}><i></i>${status || '–'}${said ? html` <span class="soft">${said}</span>` : null}</span>`;
}

/** A time of this place; that of UTC on hover. */
export function Time({ at, full }) {
  if (!at) return '–';
  return html`<time datetime=${new Date(at).toISOString()} title=${utc(at)}>${full ? moment(at) : clock(at)}</time>`;
}

/** How much of a limit is used, and when there is room again. */
export function Gauge({ name, used, limit, opens, show = short }) {
  const share = limit > 0 ? used / limit : 0;
  const tone = share >= 1 ? 'full' : share >= 0.8 ? 'high' : '';
  return html`<div class=${`gauge ${tone}`} role="meter" aria-label=${name} aria-valuemin="0" aria-valuemax=${limit} aria-valuenow=${Math.min(used, limit)} aria-valuetext=${`${count(used)} / ${count(limit)}`}>
    <span class="name" title=${name}>${name}</span><span>${show(used)} <span class="soft">/ ${show(limit)}</span></span>
    <span class="bar"><i style=${{ width: `${Math.min(100, share * 100)}%` }}></i></span>
    ${opens > 0 && share >= 1 ? html`<span class="note">${t('opens.in', { time: span(opens) })}</span>` : null}
  </div>`;
}

export function Empty({ title, children }) {
  return html`<div class="empty"><b>${title}</b>${children}</div>`;
}

/** What could not be loaded, and that it is tried again. */
export function Failure({ error, again }) {
  if (!error) return null;
  return html`<div class="banner" role="alert"><span>${error.message}${again ? ` ${t('tried.again')}` : ''}</span>
    ${again ? html`<button class="small push" onClick=${again}>${t('try.now')}</button>` : null}</div>`;
}

export const Busy = () => html`<p class="busy" role="status">${t('loading')}</p>`;

/** One of a few. */
export function Choice({ label, options, value, onChoose }) {
  return html`<span class="choice" role="group" aria-label=${label}>${options.map(([name, text]) => html`<button type="button" key=${name} aria-pressed=${value === name ? 'true' : 'false'} onClick=${() => onChoose(name)}>${text}</button>`)}</span>`;
}

/** A dialog, modal while it is there; Escape and the backdrop close it. */
export function Dialog({ title, onClose, drawer, wide, children }) {
  const ref = useRef(null);
  // Before it is painted: whoever sees it can close it.
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => { dialog.close(); if (before instanceof HTMLElement) before.focus(); };
  }, []);
  const outside = (event) => { if (event.target === ref.current) onClose(); };
  return html`<dialog ref=${ref} class=${drawer ? 'drawer' : wide ? 'wide' : ''} aria-label=${title} onCancel=${(event) => { event.preventDefault(); onClose(); }} onMouseDown=${outside}>
    <div class="inner"><header><h2>${title}</h2><button class="quiet push" aria-label=${t('close')} onClick=${onClose}>✕</button></header>${children}</div>
  </dialog>`;
}

const said = signal(/** @type {{text: string, tone: string}|null} */ (null));
let saidUntil = 0;

/** Says for a moment what came of something. @param {string} text @param {'good'|'bad'} [tone] */
export function say(text, tone = 'good') {
  said.value = { text, tone };
  clearTimeout(saidUntil);
  saidUntil = setTimeout(() => { said.value = null; }, 6000);
}

export function Toast() {
  return html`<div role="status" aria-live="polite">${said.value ? html`<div class=${`banner toast ${said.value.tone === 'good' ? 'good' : ''}`}>${said.value.text}</div>` : null}</div>`;
}

/** What came of a word that all gateways of a cluster are to hear: what its answer says of them. @param {string} done @param {any} answer */
export function reach(done, answer) {
  const gateways = answer?.gateways;
  if (!gateways) return { text: done, everywhere: true };
  if (gateways.alone) return { text: t('done.alone', { done, why: gateways.alone }), everywhere: false };
  const { done: n, of, silent } = gateways;
  const text = silent.length ? t('done.silent', { done, n, of, silent: silent.join(t('comma')) }) : t('done.on', { done, n, of });
  return { text, everywhere: !silent.length && n === of };
}

/** Says what came of it. @param {string} done @param {any} answer */
export function sayReach(done, answer) {
  const { text, everywhere } = reach(done, answer);
  say(text, everywhere ? 'good' : 'bad');
}

/** Does something and says what came of it. @param {() => Promise<any>} work @param {string} done */
export async function doing(work, done) {
  try {
    const result = await work();
    if (done) sayReach(done, result);
    return result;
  } catch (error) {
    say(/** @type {Error} */ (error).message, 'bad');
    return null;
  }
}

/** A button that asks once more before it does what cannot be undone. */
export function Careful({ label, sure, onSure, small }) {
  const [asked, setAsked] = useState(false);
  return asked
    ? html`<button type="button" class=${`danger ${small ? 'small' : ''}`} onBlur=${() => setAsked(false)} onClick=${() => { setAsked(false); onSure(); }}>${sure}</button>`
    : html`<button type="button" class=${small ? 'small' : ''} onClick=${() => setAsked(true)}>${label}</button>`;
}

/** Offers a text as a file. @param {string} name @param {string} text @param {string} type */
export function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
