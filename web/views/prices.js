// What tokens cost by the list: each price with where it is from, the models without one, and those set here.
import { html, useState } from '/assets/vendor/preact.js';
import { ask, useAsked } from '/assets/api.js';
import { count, day, short } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { refine, route } from '/assets/route.js';
import { Busy, Careful, Choice, Dialog, Failure, doing } from '/assets/ui.js';

const RATES = ['input', 'cached', 'output'];
const ABOVE = ['above_tokens', 'input_above', 'cached_above', 'output_above'];
const path = (model) => `/api/prices/${encodeURIComponent(model)}`;
const amount = (n) => (n === null || n === undefined ? '–' : String(n));

/** The edit of a price, or of one to be. */
function Form({ price, revision, currency, onClose, again }) {
  const isNew = !price.origin;
  const [fields, setFields] = useState(Object.fromEntries(['model', ...RATES, ...ABOVE, 'per_request'].map((name) => [name, price[name] ?? ''])));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const set = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  const save = async (event) => {
    event.preventDefault();
    const body = Object.fromEntries([...RATES, ...ABOVE, 'per_request'].filter((name) => fields[name] !== '').map((name) => [name, Number(fields[name])]));
    try {
      await ask(path(fields.model.trim()), { method: 'PUT', body, headers: { 'if-match': `"${revision}"` } });
      again();
      onClose();
    } catch (failed) { setError(/** @type {Error} */ (failed)); }
  };
  const field = (name, more = {}) => html`<label class="field" key=${name}>${t(`price.${name}`)}<input type="number" min="0" step=${name === 'above_tokens' ? 1 : 'any'} value=${fields[name]} onInput=${set(name)} ...${more} /></label>`;
  return html`<${Dialog} title=${isNew ? t('price.set') : price.model} onClose=${onClose}><form class="stack" onSubmit=${save}>
    ${error ? html`<${Failure} error=${error} />` : null}
    ${isNew ? html`<label class="field">${t('price.model')}<input required autofocus value=${fields.model} placeholder="gemini-2.5-*" onInput=${set('model')} /></label>` : null}
    <p class="soft">${t('price.holds', { currency })}</p>
    <div class="fields four">${[...RATES, 'per_request'].map((name) => field(name))}</div>
    <h3>${t('price.long')}</h3><div class="fields four">${ABOVE.map((name) => field(name))}</div>
    <div class="actions"><button type="button" onClick=${onClose}>${t('cancel')}</button><button class="main">${t('save')}</button></div>
  </form></${Dialog}>`;
}

function Origin({ it }) {
  const tag = html`<span class=${`tag ${it.origin === 'runtime' ? 'own' : ''}`}>${word('origin', it.origin)}</span>`;
  return html`${tag}${it.shadowed ? html` <span class="soft">${t('price.shadowed')}</span>` : null}${it.source && /^https:/.test(it.source) ? html` <a href=${it.source} target="_blank" rel="noopener noreferrer">${t('price.page')}</a>` : null}`;
}

export default function Prices() {
  const asked = useAsked('/api/prices', 10000);
  const { query } = route.value;
  const [part, which] = [query.get('q') || '', query.get('from') || ''];
  const [form, setForm] = useState(/** @type {any} */ (null));
  const list = asked.data;
  const all = list?.prices || [];
  const shown = all.filter((it) => it.model.toLowerCase().includes(part.toLowerCase()) && (!which || it.origin === which));
  const change = asked.again;
  const remove = async (it) => { await doing(() => ask(path(it.model), { method: 'DELETE', headers: { 'if-match': `"${list.revision}"` } }), t('removed', { name: it.model })); change(); };
  const open = (price) => setForm(price);
  return html`<div class="head"><h1>${t('prices')}</h1><span class="lead">${list ? t('prices.lead', { currency: list.currency, day: day(list.read) }) : ''}</span>
    <span class="push"><button class="main" disabled=${!list} onClick=${() => open({})}>${t('price.set')}</button></span></div>
  <${Failure} error=${asked.error} again=${asked.again} />
  ${!list ? (asked.error ? null : html`<${Busy} />`) : html`<div class="stack">
    ${list.unpriced.length ? html`<section class="panel"><header><h2>${t('prices.unpriced')}</h2></header><div class="body"><ul class="notes">${list.unpriced.map((one) => html`<li key=${one.model}><span>${one.model || t('no.model')}</span><span class="soft">${t('prices.unpriced.n', { n: count(one.requests) })}</span>${one.model ? html`<span class="push"><button class="small" onClick=${() => open({ model: one.model })}>${t('price.set')}</button></span>` : null}</li>`)}</ul></div></section>` : null}
    <div class="filters"><input type="search" aria-label=${t('filter.model')} placeholder=${t('filter.model')} value=${part} onInput=${(event) => refine({ q: event.target.value })} />
      <${Choice} label=${t('source')} value=${which} onChoose=${(from) => refine({ from })} options=${[['', t('settings.all', { n: count(all.length) })], ['runtime', word('origin', 'runtime')], ['configuration', word('origin', 'configuration')], ['built_in', word('origin', 'built_in')]]} /></div>
    <section class="panel">${shown.length === 0 ? html`<p class="busy">${which === 'runtime' && !part ? t('prices.none.set') : t('nothing.fits')}</p>` : html`<div class="scroll"><table class="table"><thead><tr><th>${t('model')}</th><th class="num">${t('price.input')}</th><th class="num">${t('price.cached')}</th><th class="num" title=${t('price.output')}>${t('price.out')}</th><th>${t('price.more')}</th><th>${t('source')}</th><th><span class="sr">${t('verb')}</span></th></tr></thead>
      <tbody>${shown.map((it, n) => html`<tr key=${`${n}${it.model}${it.origin}`} class=${it.shadowed ? 'off' : ''}><td class="mono">${it.model}${it.from ? html`<br /><span class="soft">${t('price.from', { day: day(it.from) })}</span>` : null}</td>
        <td class="num">${amount(it.input)}</td><td class="num">${amount(it.cached ?? it.input)}</td><td class="num">${amount(it.output)}</td>
        <td class="soft">${[it.above_tokens !== undefined && it.above_tokens !== null ? `> ${short(it.above_tokens)}: ${amount(it.input_above)} / ${amount(it.cached_above ?? it.input_above)} / ${amount(it.output_above)}` : '', it.per_request ? t('price.each', { n: it.per_request }) : ''].filter(Boolean).join(' · ')}</td>
        <td><${Origin} it=${it} /></td>
        <td class="num">${it.origin === 'runtime' ? html`<button class="small" disabled=${it.shadowed} onClick=${() => open(it)}>${t('edit')}</button> <${Careful} small label=${t('remove')} sure=${t('remove.sure')} onSure=${() => remove(it)} />` : it.origin === 'built_in' && !it.shadowed ? html`<button class="small quiet" onClick=${() => open({ ...it, origin: undefined })}>${t('price.other')}</button>` : null}</td></tr>`)}</tbody></table></div>`}</section>
    <p class="soft">${t('prices.note')}</p></div>`}
  ${form ? html`<${Form} price=${form} revision=${list.revision} currency=${list.currency} onClose=${() => setForm(null)} again=${change} />` : null}`;
}
