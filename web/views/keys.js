// Every key: a list of which only what is seen is there, what is known of one key, verbs on one or many, and the paste.
import { html, useEffect, useRef, useState } from '/assets/vendor/preact.js';
import { ask, overview, useAsked } from '/assets/api.js';
import { count, short, span } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { address, refine, route } from '/assets/route.js';
import { Import } from '/assets/views/import.js';
import { Careful, Dialog, Empty, Failure, Gauge, State, doing, download, reach, say, sayReach, tone } from '/assets/ui.js';

const ROW = 44;
const PAGE = 100;
const STATES = ['available', 'probation', 'cooling', 'retired', 'disabled', 'shadowed'];

/** Pages of the list that were looked at; those that are seen are asked for again every few seconds. */
function usePages(question) {
  const pages = useRef(/** @type {Map<number, any[]>} */ (new Map()));
  const seen = useRef([0, 0]);
  const asking = useRef(new Set());
  const [, redraw] = useState(0);
  const [about, setAbout] = useState(/** @type {{matched: number, counts: any}|null} */ (null));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const now = useRef(question);
  const fetchPage = async (page) => {
    if (asking.current.has(page)) return;
    asking.current.add(page);
    try {
      const answer = await ask(`/api/keys?limit=${PAGE}&offset=${page * PAGE}${question ? `&${question}` : ''}`);
      if (now.current !== question) return;
      pages.current.set(page, answer.keys);
      setAbout({ matched: answer.matched, counts: answer.counts });
      setError(null);
      redraw((n) => n + 1);
    } catch (failed) {
      if (now.current === question) setError(/** @type {Error} */ (failed));
    } finally { asking.current.delete(page); }
  };
  const range = () => { const [from, to] = seen.current; return Array.from({ length: to - from + 1 }, (_, n) => from + n); };
  useEffect(() => {
    now.current = question;
    pages.current = new Map();
    seen.current = [0, 0];
    asking.current = new Set();
    fetchPage(0);
    const timer = setInterval(() => { if (!document.hidden) range().forEach(fetchPage); }, 3000);
    return () => clearInterval(timer);
  }, [question]);
  return {
    about, error,
    row: (n) => pages.current.get(Math.floor(n / PAGE))?.[n % PAGE],
    see: (from, to) => { seen.current = [Math.floor(from / PAGE), Math.floor(to / PAGE)]; range().forEach((page) => { if (!pages.current.has(page)) fetchPage(page); }); },
    again: () => range().forEach(fetchPage),
  };
}

function why(it) {
  if (it.reason) return word('reason', it.reason);
  const model = it.models?.find((one) => one.state !== 'available');
  return model ? t('model.cools', { model: model.model || t('none'), more: it.models.length > 1 ? ` +${it.models.length - 1}` : '' }) : '';
}

function back(it) {
  const ms = it.back_in_ms ?? it.models?.map((one) => one.back_in_ms).filter((n) => n !== null)[0];
  return ms ? span(ms / 1000) : '';
}

/** What the two numbers of the cell are. */
const hourTitle = (it) => (it.totals && it.last_hour !== undefined ? `${t('hour.requests')}: ${count(it.last_hour)} · ${t('served')}: ${count(it.totals.successes)}` : '');

const path = (id, verb = '') => `/api/keys/${encodeURIComponent(id)}${verb ? `/${verb}` : ''}`;

export function LimitGauges({ limits }) {
  const gauges = limits.flatMap((one) => [
    ['rpm', one.minute_requests, one.rpm], ['tpm', one.minute_tokens, one.tpm], ['rpd', one.day_requests, one.rpd],
  ].filter(([, , limit]) => limit !== null).map(([name, used, limit]) => html`<${Gauge} key=${`${one.model}${name}`} name=${`${one.model || t('no.model')} · ${word('limit', name)}`} used=${used} limit=${limit} />`));
  return gauges.length ? html`<div class="gauges">${gauges}</div>` : html`<p class="soft">${t('no.known.limits')}</p>`;
}

/** The quota of which most is used, and how much of it. */
function fullest(limits) {
  let found = null;
  for (const one of limits || []) {
    for (const [name, used, limit] of [['rpm', one.minute_requests, one.rpm], ['tpm', one.minute_tokens, one.tpm], ['rpd', one.day_requests, one.rpd]]) {
      const share = limit > 0 ? used / limit : -1;
      if (share >= 0 && (!found || share > found.share)) found = { share, text: `${short(used)} / ${short(limit)} ${one.model || t('no.model')}`, title: `${one.model || t('no.model')} · ${word('limit', name)}: ${count(used)} / ${count(limit)}` };
    }
  }
  return found;
}

/** The cell of a quota: one node, its bar drawn by the style. */
function Quota({ limits }) {
  const it = fullest(limits);
  if (!it) return html`<span role="cell" class="soft">–</span>`;
  return html`<span role="cell" class=${`quota ${it.share >= 1 ? 'full' : it.share >= 0.8 ? 'high' : ''}`} title=${it.title} style=${{ '--share': `${Math.min(100, it.share * 100)}%` }}>${it.text}</span>`;
}

function One({ id, onClose, again }) {
  const asked = useAsked(`/api/keys?limit=200&q=${encodeURIComponent(id)}`, 2000);
  const it = asked.data?.keys.find((one) => one.id === id);
  const [check, setCheck] = useState(/** @type {any} */ (null));
  const act = async (verb, said) => { await doing(() => ask(path(id, verb), { method: 'POST' }), said); asked.again(); again(); };
  const look = async () => { setCheck(null); const answer = await doing(() => ask(path(id, 'check'), { method: 'POST' }), ''); if (answer) setCheck(answer.check); };
  const remove = async () => { if (await doing(() => ask(path(id), { method: 'DELETE' }), t('removed', { name: id }))) { again(); onClose(); } };
  return html`<${Dialog} drawer title=${id} onClose=${onClose}><${Failure} error=${asked.error} />
    ${!it ? html`<p class="soft">${asked.data ? t('key.gone') : t('loading')}</p>` : html`
    <div class="filters"><${State} state=${it.state} />${why(it) ? html`<span class="soft">${why(it)}</span>` : null}${back(it) ? html`<span class="tag">${t('back.in', { time: back(it) })}</span>` : null}</div>
    <div class="filters">
      ${it.state === 'disabled' ? html`<button onClick=${() => act('enable', t('was.enabled', { name: id }))}>${t('enable')}</button>` : html`<button onClick=${() => act('disable', t('was.disabled', { name: id }))}>${t('disable')}</button>`}
      <button onClick=${() => act('reset', t('was.reset', { name: id }))}>${t('reset')}</button><button onClick=${look}>${t('check')}</button>
      ${it.source === 'runtime' ? html`<${Careful} label=${t('remove')} sure=${t('remove.sure')} onSure=${remove} />` : html`<span class="tag">${t('from.file')}</span>`}
    </div>
    ${check ? html`<div class=${`banner ${check.verdict === 'good' || check.verdict === 'well' ? 'good' : 'warn'}`} role="status"><b>${word('verdict', check.verdict)}</b><span>${check.why || ''}</span></div>` : null}
    <dl class="pairs"><dt>${t('project')}</dt><dd>${it.project || '–'}${it.project_number ? html` <span class="soft">${it.project_number}</span>` : null}</dd>
      <dt>${t('in.flight')}</dt><dd>${it.in_flight ?? 0}</dd>
      ${it.last_hour === undefined ? null : html`<dt>${t('hour.requests')}</dt><dd>${count(it.last_hour)} ${t('requests.word')}</dd>`}
      ${it.totals ? html`<dt>${t('served')}</dt><dd>${count(it.totals.successes)} <span class="soft">${t('of.leases', { n: count(it.totals.leases) })}</span></dd>
      <dt>${t('faults')}</dt><dd>${count(it.totals.faults)} <span class="soft">${Object.entries(it.totals.faults_of).filter(([, n]) => n).map(([name, n]) => `${word('blame', name)} ${n}`).join(' · ')}</span></dd>
      <dt>${t('tokens.head')}</dt><dd>${count(it.totals.input_tokens)} ${t('in')}, ${count(it.totals.output_tokens)} ${t('out')}</dd>` : null}</dl>
    <h3>${t('quotas')}</h3><${LimitGauges} limits=${it.limits || []} />
    ${it.models?.length ? html`<h3>${t('models.in.trouble')}</h3><ul class="notes">${it.models.map((one) => html`<li key=${one.model}><span>${one.model || t('no.model')}</span><${State} state=${one.state} /><span class="soft">${one.reason ? word('reason', one.reason) : ''}</span><span class="push">${one.back_in_ms ? t('back.in', { time: span(one.back_in_ms / 1000) }) : ''}</span></li>`)}</ul>` : null}
    ${it.usage?.length ? html`<h3>${t('by.model')}</h3><div class="scroll"><table class="table"><thead><tr><th>${t('model')}</th><th class="num">${t('served')}</th><th class="num">${t('faults')}</th><th class="num">${t('tokens.head')}</th></tr></thead><tbody>${it.usage.map((one) => html`<tr key=${one.model}><td class="clip">${one.model || '–'}</td><td class="num">${count(one.totals.successes)}</td><td class="num">${count(one.totals.faults)}</td><td class="num">${short(one.totals.input_tokens + one.totals.output_tokens)}</td></tr>`)}</tbody></table></div>` : null}
    <p><a href=${address('requests', { key: id })}>${t('its.requests')}</a></p>`}
  </${Dialog}>`;
}

function Paste({ onClose, again }) {
  const [text, setText] = useState('');
  const [project, setProject] = useState('');
  const [seen, setSeen] = useState(/** @type {any} */ (null));
  const [chosen, setChosen] = useState(/** @type {Set<string>} */ (new Set()));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const [busy, setBusy] = useState(false);
  const send = async (more) => {
    setBusy(true);
    setError(null);
    try {
      return await ask('/api/keys', { method: 'POST', body: { text, ...(project ? { project } : {}), ...more } });
    } catch (failed) { setError(/** @type {Error} */ (failed)); return null; } finally { setBusy(false); }
  };
  const words = seen ? ['new', 'unusual', 'here', 'repeated', 'others'].flatMap((state) => seen.preview[state].map((one) => ({ ...one, state }))).sort((one, other) => one.line - other.line) : [];
  const preview = async (check) => {
    const answer = await send({ dry_run: true, ...(check ? { check: true, choose: [...chosen] } : {}) });
    if (!answer) return;
    setSeen(answer);
    if (!check) setChosen(new Set(answer.preview.new.map((one) => one.fingerprint)));
  };
  const add = async () => {
    const answer = await send({ choose: [...chosen] });
    if (!answer) return;
    say(t('added', { n: answer.added.length }));
    again();
    onClose();
  };
  const toggle = (key) => { const next = new Set(chosen); if (!next.delete(key)) next.add(key); setChosen(next); };
  const verdicts = new Map((seen?.checks || []).map((one) => [one.fingerprint, one]));
  return html`<${Dialog} title=${t('keys.add')} onClose=${onClose}>
    ${error ? html`<${Failure} error=${error} />` : null}
    ${seen ? html`
      <div class="scroll"><table class="table"><thead><tr><th></th><th>${t('line')}</th><th>${t('fingerprint')}</th><th>${t('state')}</th>${verdicts.size ? html`<th>${t('check')}</th>` : null}</tr></thead>
        <tbody>${words.slice(0, 200).map((one) => html`<tr key=${`${one.line}${one.state}${one.fingerprint}`}><td>${one.state === 'new' || one.state === 'unusual' ? html`<input type="checkbox" aria-label=${one.fingerprint} checked=${chosen.has(one.fingerprint)} onChange=${() => toggle(one.fingerprint)} />` : null}</td><td>${one.line}</td><td class="mono">${one.id || one.fingerprint || t('signs', { n: one.length })}</td><td>${word('paste', one.state)}</td>
          ${verdicts.size ? html`<td class="wrap">${verdicts.has(one.fingerprint) ? html`${word('verdict', verdicts.get(one.fingerprint).verdict)} <span class="soft">${verdicts.get(one.fingerprint).why || ''}</span>` : ''}</td>` : null}</tr>`)}</tbody></table></div>
      ${words.length > 200 ? html`<p class="soft">${t('and.more', { n: words.length - 200 })}</p>` : null}
      ${words.length === 0 ? html`<p class="soft">${t('paste.nothing')}</p>` : null}
      <div class="actions"><button onClick=${() => setSeen(null)}>${t('back')}</button><button disabled=${busy || !chosen.size} onClick=${() => preview(true)}>${t('check.google')}</button><button class="main" disabled=${busy || !chosen.size} onClick=${add}>${t('add.n', { n: chosen.size })}</button></div>`
    : html`<label class="field">${t('paste.what')}<textarea autofocus spellcheck=${false} autocomplete="off" value=${text} onInput=${(event) => setText(event.target.value)} placeholder=${t('paste.how')}></textarea></label>
      <label class="field">${t('paste.project')}<input value=${project} onInput=${(event) => setProject(event.target.value)} /></label>
      <p class="soft">${t('paste.safe')}</p>
      <div class="actions"><button onClick=${onClose}>${t('cancel')}</button><button class="main" disabled=${busy || !text.trim()} onClick=${() => preview(false)}>${t('preview')}</button></div>`}
  </${Dialog}>`;
}

export default function Keys() {
  const { query, rest } = route.value;
  const [state, sort, q] = [query.get('state') || '', query.get('sort') || 'id', query.get('q') || ''];
  const question = new URLSearchParams(Object.entries({ state, sort, q }).filter(([, value]) => value)).toString();
  const pages = usePages(question);
  const [typed, setTyped] = useState(q);
  useEffect(() => { const timer = setTimeout(() => { if (typed !== q) refine({ q: typed }); }, 250); return () => clearTimeout(timer); }, [typed]);
  const list = useRef(/** @type {HTMLElement|null} */ (null));
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [chosen, setChosen] = useState(/** @type {Map<string, any>} */ (new Map()));
  const [paste, setPaste] = useState(false);
  const [importing, setImporting] = useState(false);
  const matched = pages.about?.matched ?? 0;
  useEffect(() => { if (list.current) list.current.scrollTop = 0; setTop(0); }, [question]);
  useEffect(() => {
    if (!list.current) return undefined;
    const watch = new ResizeObserver(() => setHeight(list.current?.clientHeight || 600));
    watch.observe(list.current);
    return () => watch.disconnect();
  }, [matched > 0]);
  // Some rows more than are seen; never so many that their nodes count.
  const first = Math.max(0, Math.floor(top / ROW) - 1);
  const last = Math.min(matched - 1, first + Math.ceil((height - 38) / ROW) + 1);
  useEffect(() => { if (matched) pages.see(first, Math.max(first, last)); }, [first, last, matched]);
  const id = rest[0];
  const open = (key) => { location.hash = address('keys', Object.fromEntries(query), key); };
  const many = async (verb) => {
    let done = 0;
    let answer = null;
    for (const key of chosen.keys()) {
      const result = await doing(() => ask(path(key, verb === 'remove' ? '' : verb), { method: verb === 'remove' ? 'DELETE' : 'POST' }), '');
      if (!result) break;
      // Of many words the one that not all have heard is told.
      if (!answer || reach('', answer).everywhere) answer = result;
      done += 1;
    }
    sayReach(t('done.n', { n: done }), answer);
    setChosen(new Map());
    pages.again();
  };
  const toggle = (it) => { const next = new Map(chosen); if (!next.delete(it.id)) next.set(it.id, it); setChosen(next); };
  const column = (name, label, num) => html`<span role="columnheader" class=${num ? 'num' : ''} aria-sort=${sort === name ? 'ascending' : sort === `-${name}` ? 'descending' : 'none'}><button onClick=${() => refine({ sort: sort === name ? `-${name}` : name })}>${label}${sort === name ? ' ↑' : sort === `-${name}` ? ' ↓' : ''}</button></span>`;
  const counts = overview.value?.keys || pages.about?.counts;
  const move = (event, n) => {
    if (event.key === 'Enter') { const it = pages.row(n); if (it) open(it.id); }
    const to = { ArrowDown: n + 1, ArrowUp: n - 1 }[event.key];
    if (to === undefined || to < 0 || to >= matched) return;
    event.preventDefault();
    const place = list.current;
    if (!place) return;
    if (to * ROW < place.scrollTop) place.scrollTop = to * ROW;
    if ((to + 2) * ROW > place.scrollTop + place.clientHeight) place.scrollTop = (to + 2) * ROW - place.clientHeight;
    requestAnimationFrame(() => requestAnimationFrame(() => /** @type {HTMLElement|null} */ (place.querySelector(`[data-n="${to}"]`))?.focus()));
  };
  const scrolls = list.current && list.current.clientWidth < 980;
  const rows = [];
  for (let n = first; n <= last; n += 1) {
    const it = pages.row(n);
    rows.push(html`<div key=${n} data-n=${n} role="row" aria-rowindex=${n + 2} tabindex=${0} class=${`vrow row ${it && it.id === id ? 'open' : ''}`} style=${{ transform: `translateY(${n * ROW}px)` }} onKeyDown=${(event) => { if (event.target === event.currentTarget) move(event, n); }} onClick=${(event) => { if (it && !(event.target instanceof HTMLInputElement)) open(it.id); }}>
      ${it ? html`<span role="cell"><input type="checkbox" aria-label=${it.id} checked=${chosen.has(it.id)} onChange=${() => toggle(it)} /></span><span role="cell" title=${it.id}>${it.id}</span><span role="cell" class="soft">${it.project || '–'}</span><span role="cell" class=${`state ${tone(it.state)}`}>${word('state', it.state)}</span><span role="cell" class="soft" title=${why(it)}>${back(it) ? `${back(it)} · ` : ''}${why(it)}</span><${Quota} limits=${it.limits} /><span role="cell" class="num">${it.in_flight ?? '–'}</span><span role="cell" class="num" title=${hourTitle(it)}>${it.last_hour === undefined ? '' : `${count(it.last_hour)} / `}${it.totals ? short(it.totals.successes) : '–'}</span><span role="cell" class="num">${it.totals ? count(it.totals.faults) : '–'}</span>` : html`<span></span><span class="soft">…</span>`}</div>`);
  }
  const isFiltered = Boolean(state || q);
  const exported = async (format) => { const answer = await fetch(`/api/keys/export?format=${format}`); if (answer.ok) download(`keys.${format}`, await answer.text(), format === 'csv' ? 'text/csv' : 'application/json'); };
  return html`<div class="head"><h1>${t('keys')}</h1><span class="lead">${pages.about ? count(isFiltered ? matched : pages.about.counts.total) : ''}</span>
    <span class="push"><button onClick=${() => exported('csv')}>${t('export')}</button><button onClick=${() => setImporting(true)}>${t('import')}</button><button class="main" onClick=${() => setPaste(true)}>${t('keys.add')}</button></span></div>
  <div class="filters"><input type="search" aria-label=${t('filter.keys')} placeholder=${t('filter.keys')} value=${typed} onInput=${(event) => setTyped(event.target.value)} />
    <select aria-label=${t('state')} value=${state} onChange=${(event) => refine({ state: event.target.value })}><option value="">${t('state.any')}</option>${STATES.map((one) => html`<option key=${one} value=${one}>${word('state', one)}${counts?.[one] === undefined ? '' : ` (${counts[one]})`}</option>`)}</select>
    ${chosen.size ? html`<span class="tag">${t('chosen', { n: chosen.size })}</span>${['enable', 'disable', 'reset'].map((verb) => html`<button key=${verb} class="small" onClick=${() => many(verb)}>${t(verb)}</button>`)}<${Careful} small label=${t('remove')} sure=${t('remove.sure')} onSure=${() => many('remove')} /><button class="quiet small" onClick=${() => setChosen(new Map())}>${t('clear')}</button>` : null}</div>
  <${Failure} error=${pages.error} again=${pages.again} />
  <section class="panel clip">${pages.about && matched === 0 ? html`<${Empty} title=${isFiltered ? t('nothing.fits') : t('keys.none')}><p>${isFiltered ? t('nothing.fits.how') : t('keys.none.how')}</p></${Empty}>`
    : html`<div class="vlist" ref=${list} role="table" aria-label=${t('keys')} aria-rowcount=${matched + 1} tabindex="-1" onScroll=${(event) => setTop(event.target.scrollTop)} style=${{ height: matched && matched < 14 ? `${38 + matched * ROW + (scrolls ? 16 : 0)}px` : undefined, minHeight: '0' }}>
      <div class="vrow vhead" role="row" aria-rowindex="1"><span role="columnheader"><span class="sr">${t('choose')}</span></span>${column('id', t('key'))}${column('project', t('project'))}${column('state', t('state'))}<span role="columnheader">${t('back.and.why')}</span><span role="columnheader">${t('fullest')}</span>${column('in_flight', t('in.flight'), true)}${column('served', `${t('hour.requests')} / ${t('served')}`, true)}${column('faults', t('faults'), true)}</div>
      <div role="rowgroup" style=${{ height: `${matched * ROW}px`, position: 'relative', minWidth: '980px' }}>${rows}</div></div>`}</section>
  ${id ? html`<${One} id=${id} key=${id} onClose=${() => { location.hash = address('keys', Object.fromEntries(query)); }} again=${pages.again} />` : null}
  ${paste ? html`<${Paste} onClose=${() => setPaste(false)} again=${pages.again} />` : null}
  ${importing ? html`<${Import} onClose=${() => setImporting(false)} again=${pages.again} />` : null}`;
}
