// The newest requests one by one, and the timeline of each with the reason of every choice.
import { html, useEffect, useState } from '/assets/vendor/preact.js';
import { ask, newest, useAsked } from '/assets/api.js';
import { count, millis } from '/assets/format.js';
import { t, word } from '/assets/i18n.js';
import { address, refine, route } from '/assets/route.js';
import { Busy, Dialog, Empty, Failure, Status, Time } from '/assets/ui.js';

const FILTERS = ['caller', 'model', 'key', 'status', 'fault', 'id'];

function passed(list) {
  if (!list?.length) return '';
  return list.map((one) => {
    const back = one.back_in_ms ? ` (${t('back.in', { time: millis(one.back_in_ms) })})` : '';
    return `${t('passed', { n: one.keys, key: one.key, why: word('why', one.why) })}${one.reason ? `: ${word('reason', one.reason)}` : ''}${back}`;
  }).join('; ');
}

function Lane({ name, right, from, length, total, kind, children }) {
  const left = total > 0 ? Math.min(99.5, (from / total) * 100) : 0;
  const width = total > 0 ? Math.max(0.5, Math.min(100 - left, (length / total) * 100)) : 0;
  return html`<div class="lane"><span>${name}</span><span class="soft">${right}</span>
    <span class="track"><i class=${kind} style=${{ left: `${left}%`, width: kind === 'mark' ? '3px' : `${width}%` }}></i></span>${children}</div>`;
}

/** What happened to one request, in its order. */
export function Timeline({ it }) {
  const total = it.total_ms || 0;
  const lanes = [
    ...(it.delays || []).map((delay) => ({ at: delay.start_ms, delay })),
    ...it.attempts.map((attempt, n) => ({ at: attempt.start_ms, attempt, n })),
  ].sort((one, other) => one.at - other.at);
  return html`<div class="timeline">
    ${lanes.map(({ delay, attempt, n }) => delay
      ? html`<${Lane} name=${delay.refusal ? t('refusal') : delay.cause === 'pause' ? t('pause', { fault: delay.after }) : t('no.key.free')} right=${millis(delay.ms)} from=${delay.start_ms} length=${delay.ms} total=${total} kind="wait">
          ${delay.refusal ? html`<span class="why">${delay.refusal}</span>` : null}${delay.passed_over ? html`<span class="why">${passed(delay.passed_over)}</span>` : null}</${Lane}>`
      : html`<${Lane} name=${html`<b>${n + 1}</b> <a href=${address('keys', { q: attempt.key })}>${attempt.key}</a> <span class="soft">${attempt.project || ''}</span>`} right=${html`${attempt.fault ? html`<span class="bad-text">${attempt.status || ''} ${attempt.fault}</span>` : attempt.status} · ${millis(attempt.ms)}`} from=${attempt.start_ms} length=${attempt.ms} total=${total} kind=${attempt.fault ? 'fault' : ''}>
          <span class="why">${word('chosen', attempt.chosen || 'turn')}${attempt.probe ? ` · ${t('probe')}` : ''}</span>
          ${attempt.passed_over ? html`<span class="why">${passed(attempt.passed_over)}</span>` : null}
          ${attempt.words ? html`<span class="why">“${attempt.words}”</span>` : null}</${Lane}>`)}
    ${it.first_byte_ms === undefined ? null : html`<${Lane} name=${t('first.byte')} right=${millis(it.first_byte_ms)} from=${it.first_byte_ms} length=${0} total=${total} kind="mark" />`}
    <div class="axis"><span>0</span><span>${millis(total / 2)}</span><span>${millis(total)}</span></div>
  </div>`;
}

function One({ id, known }) {
  const asked = useAsked(`/api/requests/${encodeURIComponent(id)}`);
  const it = asked.data || known;
  const close = () => { location.hash = address('requests', Object.fromEntries(route.value.query)); };
  return html`<${Dialog} drawer title=${`${t('request')} ${id}`} onClose=${close}>
    <${Failure} error=${asked.error} />
    ${!it ? (asked.error ? null : html`<${Busy} />`) : html`
      <dl class="pairs">
        <dt>${t('status')}</dt><dd><${Status} status=${it.status} end=${it.end} by=${it.refused_by} />${it.limit ? html` <span class="tag">${word('limit', it.limit)}</span>` : null}</dd>
        <dt>${t('time')}</dt><dd><${Time} at=${it.time} full /></dd>
        <dt>${t('caller')}</dt><dd>${it.caller || '–'}</dd>
        <dt>${t('model')}</dt><dd>${it.model || '–'}</dd>
        <dt>${t('path')}</dt><dd class="mono">${it.method} ${it.path}</dd>
        <dt>${t('took')}</dt><dd>${millis(it.total_ms)}${it.queued_ms > 1 ? html` <span class="soft">${t('of.which.waiting', { time: millis(it.queued_ms) })}</span>` : null}</dd>
        ${it.usage ? html`<dt>${t('tokens.head')}</dt><dd>${Object.entries(it.usage).map(([name, n]) => `${word('tokens', name)} ${count(n)}`).join(' · ')}</dd>` : null}
        <dt>${t('bytes')}</dt><dd>${count(it.bytes_in)} ↑ ${count(it.bytes_out)} ↓</dd>
        ${it.told ? html`<dt>${t('told')}</dt><dd>${it.told}</dd>` : null}
        ${it.bound_to ? html`<dt>${t('bound')}</dt><dd class="mono">${it.bound_to}</dd>` : null}
      </dl>
      <h3>${t('timeline')}</h3>
      ${it.attempts.length || it.delays?.length ? html`<${Timeline} it=${it} />` : html`<p class="soft">${t('never.sent')}</p>`}`}
  </${Dialog}>`;
}

export default function Requests() {
  const { query, rest } = route.value;
  const filter = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) || '']));
  const refused = query.get('refused_by') || '';
  const isFiltered = Object.values({ ...filter, refused }).some(Boolean);
  const text = new URLSearchParams(Object.entries({ ...filter, refused_by: refused }).filter(([, value]) => value)).toString();
  const path = `/api/requests?limit=100${text ? `&${text}` : ''}`;
  const asked = useAsked(path, isFiltered ? 5000 : 0);
  const [older, setOlder] = useState(/** @type {{path: string, rows: any[], cursor: string|null, error: Error|null}} */ ({ path, rows: [], cursor: null, error: null }));
  useEffect(() => { setOlder({ path, rows: [], cursor: null, error: null }); }, [path]);
  const [typed, setTyped] = useState(filter);
  useEffect(() => {
    const timer = setTimeout(() => { if (FILTERS.some((name) => typed[name] !== filter[name])) refine(typed); }, 350);
    return () => clearTimeout(timer);
  }, [typed]);
  const first = asked.data?.requests || [];
  const fresh = isFiltered ? [] : newest.value.filter((row) => !first.some((one) => one.id === row.id));
  const rows = [...fresh, ...first, ...(older.path === path ? older.rows : [])];
  const cursor = older.rows.length ? older.cursor : asked.data?.cursor;
  const more = async () => {
    try {
      const next = await ask(`${path}&cursor=${cursor}`);
      setOlder({ path, rows: [...older.rows, ...next.requests], cursor: next.cursor, error: null });
    } catch (error) { setOlder({ ...older, error: /** @type {Error} */ (error) }); }
  };
  const link = (row) => address('requests', Object.fromEntries(query), row.id);
  const id = rest[0];
  return html`<div class="head"><h1>${t('requests')}</h1><span class="lead">${asked.data ? t('kept', { n: count(asked.data.kept) }) : ''}</span></div>
  <div class="filters">${FILTERS.map((name) => html`<input key=${name} aria-label=${t(`filter.${name}`)} placeholder=${t(`filter.${name}`)} value=${typed[name]} onInput=${(event) => setTyped({ ...typed, [name]: event.target.value.trim() })} />`)}
    <select aria-label=${t('refused.by')} value=${refused} onChange=${(event) => refine({ refused_by: event.target.value })}><option value="">${t('refused.any')}</option>${['caller', 'pool', 'google'].map((by) => html`<option key=${by} value=${by}>${word('by', by)}</option>`)}</select>
    ${isFiltered ? html`<button class="quiet" onClick=${() => { setTyped(Object.fromEntries(FILTERS.map((name) => [name, '']))); location.hash = '#/requests'; }}>${t('clear')}</button>` : null}</div>
  <${Failure} error=${asked.error} again=${asked.again} />
  <section class="panel">
    ${!asked.data && !asked.error ? html`<${Busy} />` : rows.length === 0 && !asked.error ? html`<${Empty} title=${isFiltered ? t('nothing.fits') : t('requests.none')}><p>${isFiltered ? t('nothing.fits.how') : t('requests.none.how')}</p></${Empty}>`
      : html`<div class="scroll"><table class="table"><thead><tr><th>${t('time')}</th><th>${t('caller')}</th><th>${t('model')}</th><th>${t('status')}</th><th>${t('key')}</th><th>${t('faults')}</th><th class="num">${t('first.byte')}</th><th class="num">${t('took')}</th><th class="num">${t('tokens.head')}</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${row.id} class=${`open-able ${row.id === id ? 'open' : ''}`} onClick=${() => { location.hash = link(row); }}>
          <td><a href=${link(row)}><${Time} at=${row.time} /></a></td><td class="clip">${row.caller || html`<span class="soft">–</span>`}</td><td class="clip" title=${row.path}>${row.model || html`<span class="soft">${row.verb || row.path}</span>`}</td>
          <td><${Status} status=${row.status} end=${row.end} by=${row.refused_by} /></td>
          <td class="clip">${row.attempts.length ? row.attempts[row.attempts.length - 1].key : html`<span class="soft">–</span>`}</td>
          <td class="clip soft">${[...new Set(row.attempts.map((one) => one.fault).filter(Boolean))].join(', ')}</td>
          <td class="num">${millis(row.first_byte_ms)}</td><td class="num">${millis(row.total_ms)}</td><td class="num">${row.usage?.total === undefined ? html`<span class="soft">–</span>` : count(row.usage.total)}</td></tr>`)}</tbody></table></div>`}
  </section>
  ${older.error ? html`<${Failure} error=${older.error} again=${more} />` : cursor ? html`<p class="busy"><button onClick=${more}>${t('older')}</button></p>` : null}
  ${id ? html`<${One} id=${id} key=${id} known=${rows.find((row) => row.id === id)} />` : null}`;
}
