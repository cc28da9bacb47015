// Who may call: each token with its limits and what is used of them; making one, changing, rotating, disabling, removing it.
import { html, useState } from '/assets/vendor/preact.js';
import { ask, useAsked } from '/assets/api.js';
import { count, day, money, short, span } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { address } from '/assets/route.js';
import { Busy, Careful, Dialog, Empty, Failure, Gauge, State, doing, reach, sayReach } from '/assets/ui.js';

const NUMBERS = ['rpm', 'tpm', 'rpd', 'concurrent'];
const BUDGETS = ['tokens_day', 'tokens_month', 'money_day', 'money_month'];
const isMoney = (name) => name.startsWith('money');

function Secret({ made, onClose }) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard.writeText(made.token).then(() => setCopied(true), () => {});
  const title = t('token.made', { name: made.name });
  const { text, everywhere } = reach(title, made);
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${t('token.once')}</p><p class="secret">${made.token}</p>
    ${made.gateways ? html`<div class=${`banner ${everywhere ? 'good' : 'warn'}`}>${text}</div>` : null}
    ${made.kept === false ? html`<div class="banner warn">${t('not.kept')}</div>` : null}
    <div class="actions"><button onClick=${copy}>${copied ? t('copied') : t('copy')}</button><button class="main" onClick=${onClose}>${t('done')}</button></div></${Dialog}>`;
}

function Form({ caller, onClose, onDone }) {
  const limits = Object.fromEntries((caller?.use?.limits || []).map((one) => [one.name, one.limit]));
  const [fields, setFields] = useState({
    name: caller?.name || '', note: caller?.note || '', models: (caller?.models || ['*']).join(', '), projects: (caller?.projects || ['*']).join(', '), expires: caller?.expires || '',
    ...Object.fromEntries([...NUMBERS, ...BUDGETS].map((name) => [name, limits[name] ?? ''])),
  });
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const set = (name) => (event) => setFields({ ...fields, [name]: event.target.value });
  const save = async (event) => {
    event.preventDefault();
    const list = (text) => text.split(/[\s,]+/).filter(Boolean);
    const body = { note: fields.note, models: list(fields.models), projects: list(fields.projects) };
    if (!caller) body.name = fields.name.trim();
    if (caller) Object.assign(body, { surfaces: caller.surfaces, resources: caller.resources, enabled: caller.enabled });
    if (String(fields.expires).trim()) body.expires = String(fields.expires).trim();
    for (const name of NUMBERS) if (fields[name] !== '') body[name] = Number(fields[name]);
    const budget = Object.fromEntries(BUDGETS.filter((name) => fields[name] !== '').map((name) => [name, Number(fields[name])]));
    if (Object.keys(budget).length) body.budget = budget;
    try {
      onDone(await ask(caller ? `/api/tokens/${encodeURIComponent(caller.name)}` : '/api/tokens', { method: caller ? 'PUT' : 'POST', body }));
    } catch (failed) { setError(/** @type {Error} */ (failed)); }
  };
  const field = (name, type = 'text', more = {}) => html`<label class="field" key=${name}>${word('limit', name) === name ? t(`field.${name}`) : word('limit', name)}<input type=${type} value=${fields[name]} onInput=${set(name)} ...${more} /></label>`;
  return html`<${Dialog} title=${caller ? caller.name : t('token.add')} onClose=${onClose}><form class="stack" onSubmit=${save}>
    ${error ? html`<${Failure} error=${error} />` : null}
    <div class="fields">${caller ? null : field('name', 'text', { required: true, autofocus: true })}${field('note')}${field('expires', 'text', { placeholder: '90d' })}</div>
    <div class="fields">${field('models')}${field('projects')}</div>
    <h3>${t('limits')}</h3><div class="fields">${NUMBERS.map((name) => field(name, 'number', { min: 1, placeholder: t('none.set') }))}</div>
    <h3>${t('budgets')}</h3><div class="fields">${BUDGETS.map((name) => field(name, 'number', { min: 0, step: isMoney(name) ? 'any' : 1, placeholder: t('none.set') }))}</div>
    <div class="actions"><button type="button" onClick=${onClose}>${t('cancel')}</button><button class="main">${caller ? t('save') : t('token.make')}</button></div>
  </form></${Dialog}>`;
}

/** Marks a figure that is this gateway's own, where others count over more. @param {any} figure @param {any} gateways */
const own = (figure, gateways) => (gateways?.counted > 1 && figure?.gateways === 1 ? ` (${t('own.figure')})` : '');

function Caller({ it, refused, gateways, change, onEdit, onSecret }) {
  const path = `/api/tokens/${encodeURIComponent(it.name)}`;
  const isOurs = it.source === 'runtime';
  const act = async (verb, said) => { await doing(() => ask(`${path}/${verb}`, { method: 'POST' }), said); change(); };
  const rotate = async () => { const made = await doing(() => ask(`${path}/rotate`, { method: 'POST', body: { grace: '24h' } }), ''); if (made) onSecret(made); change(); };
  const remove = async () => { await doing(() => ask(path, { method: 'DELETE' }), t('removed', { name: it.name })); change(); };
  const limits = it.use?.limits || [];
  return html`<section class="panel"><header><h2><a href=${address('requests', { caller: it.name })}>${it.name}</a></h2><${State} state=${it.state} />
      ${it.note ? html`<span class="soft">${it.note}</span>` : null}
      <span class="push">${isOurs ? html`<button class="small" onClick=${onEdit}>${t('edit')}</button> <${Careful} small label=${t('rotate')} sure=${t('rotate.sure')} onSure=${rotate} />
        ${' '}<button class="small" onClick=${() => act(it.enabled ? 'disable' : 'enable', it.enabled ? t('was.disabled', { name: it.name }) : t('was.enabled', { name: it.name }))}>${it.enabled ? t('disable') : t('enable')}</button> <${Careful} small label=${t('remove')} sure=${t('remove.sure')} onSure=${remove} />` : html`<span class="tag">${t('from.file')}</span>`}</span></header>
    <div class="body stack">
      ${limits.length ? html`<div class="gauges">${limits.map((one) => html`<${Gauge} key=${one.name} name=${word('limit', one.name) + own(one, gateways)} used=${one.used} limit=${one.limit} opens=${one.opens_in_s} show=${isMoney(one.name) ? (n) => money(n) : short} />`)}</div>` : html`<p class="soft">${t('no.limits')}</p>`}
      <div class="legend soft"><span>${t('today')}<b>${count(it.use?.day.requests)}</b> ${t('requests.word')}, <b>${short(it.use?.day.tokens)}</b> ${t('tokens')}${own(it.use?.day, gateways)}</span>
        <span>${t('this.month')}<b>${short(it.use?.month.tokens)}</b> ${t('tokens')}${own(it.use?.month, gateways)}</span><span>${t('in.flight')}<b>${it.use?.in_flight || 0}</b></span>
        <span>${t('models')} ${it.models.slice(0, 4).map((glob) => html`<span class="tag" key=${glob}>${glob}</span> `)}${it.models.length > 4 ? `+${it.models.length - 4}` : ''}</span>
        ${it.surfaces.length < 4 ? html`<span>${t('surfaces')} ${it.surfaces.map((name) => html`<span class="tag" key=${name}>${name}</span> `)}</span>` : null}
        ${refused.length ? html`<span><a href=${address('requests', { caller: it.name, refused_by: 'caller' })}>${t('refused.lately')}</a> ${refused.map(([limit, n]) => html`<span class="tag" key=${limit}>${word('limit', limit)} ${n}</span> `)}</span>` : null}
        ${it.expires ? html`<span>${t('expires')} ${day(it.expires)}</span>` : null}
        ${it.former_until ? html`<span>${t('former.until', { time: span((Date.parse(it.former_until) - Date.now()) / 1000) })}</span>` : null}</div>
    </div></section>`;
}

export default function Callers() {
  const asked = useAsked('/api/tokens', 3000);
  const refusals = useAsked('/api/requests?refused_by=caller&limit=200', 5000).data?.requests || [];
  const refusedOf = (name) => {
    const by = new Map();
    for (const one of refusals) if (one.caller === name && one.limit) by.set(one.limit, (by.get(one.limit) || 0) + 1);
    return [...by];
  };
  const [form, setForm] = useState(/** @type {any} */ (null));
  const [secret, setSecret] = useState(/** @type {any} */ (null));
  const [part, setPart] = useState('');
  const all = asked.data?.tokens || [];
  const gateways = asked.data?.gateways;
  const shown = all.filter((it) => it.name.toLowerCase().includes(part.toLowerCase())).slice(0, 200);
  const done = (made) => { if (made?.token) setSecret(made); else sayReach(t('was.changed', { name: form.name }), made); setForm(null); asked.again(); };
  return html`<div class="head"><h1>${t('callers')}</h1><span class="lead">${asked.data ? count(all.length) : ''}</span>${gateways && !gateways.alone ? html`<span class="soft counted">${t('counted.over', { n: gateways.counted })}</span>` : null}<span class="push">
    ${all.length > 8 ? html`<input aria-label=${t('filter.caller')} placeholder=${t('filter.caller')} value=${part} onInput=${(event) => setPart(event.target.value)} />` : null}<button class="main" onClick=${() => setForm({})}>${t('token.add')}</button></span></div>
  <${Failure} error=${asked.error} again=${asked.again} />
  ${gateways?.alone ? html`<div class="banner warn" role="status">${t('counted.alone', { why: gateways.alone })}</div>` : null}
  ${!asked.data && !asked.error ? html`<${Busy} />` : null}
  ${asked.data && all.length === 0 ? html`<section class="panel"><${Empty} title=${t('callers.none')}><p>${t('callers.none.how')}</p><code>gemini-balance tokens add alice --rpm 60</code></${Empty}></section>` : null}
  <div class="stack">${shown.map((it) => html`<${Caller} key=${it.name} it=${it} refused=${refusedOf(it.name)} gateways=${gateways} change=${asked.again} onEdit=${() => setForm(it)} onSecret=${setSecret} />`)}</div>
  ${form ? html`<${Form} caller=${form.name ? form : null} onClose=${() => setForm(null)} onDone=${done} />` : null}
  ${secret ? html`<${Secret} made=${secret} onClose=${() => setSecret(null)} />` : null}`;
}
