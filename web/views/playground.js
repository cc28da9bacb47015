// A prompt to a model, through the gateway as any client's: the answer as it comes, and beside it where the request went.
import { html, useEffect, useRef, useState } from '/assets/vendor/preact.js';
import { ask, useAsked } from '/assets/api.js';
import { count, millis } from '/assets/format.js';
import { keep, read, t, word } from '/assets/i18n.js';
import { address } from '/assets/route.js';
import { Choice, Failure, Status } from '/assets/ui.js';
import { Timeline } from '/assets/views/requests.js';

/** The text that an event adds, in either format. @param {any} event */
function said(event) {
  const parts = event.candidates?.[0]?.content?.parts;
  if (parts) return parts.map((part) => part.text || '').join('');
  return event.choices?.[0]?.delta?.content || '';
}

/** Calls `add` with each event of an answer, and returns what is none of one. @param {Response} answer @param {(event: any) => void} add */
async function events(answer, add) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  let other = '';
  for (;;) {
    const { done, value } = await reader.read();
    rest += value || '';
    const lines = rest.split(/\r?\n/);
    rest = done ? '' : lines.pop() || '';
    for (const line of lines) {
      if (line.startsWith('data: ') && line !== 'data: [DONE]') {
        try { add(JSON.parse(line.slice(6))); } catch { other += `${line}\n`; }
      } else if (line && line !== 'data: [DONE]') other += `${line}\n`;
    }
    if (done) return other;
  }
}

export default function Playground() {
  const [model, setModel] = useState(read('model') || 'gemini-2.5-flash');
  const [prompt, setPrompt] = useState('');
  const [dialect, setDialect] = useState('gemini');
  const [text, setText] = useState('');
  const [state, setState] = useState(/** @type {'idle'|'asking'|'done'} */ ('idle'));
  const [error, setError] = useState(/** @type {Error|null} */ (null));
  const [told, setTold] = useState(/** @type {any} */ (null));
  const stop = useRef(/** @type {AbortController|null} */ (null));
  const models = useAsked('/api/models').data?.models || [];
  useEffect(() => () => stop.current?.abort(), []);
  const explain = async (id) => {
    // A request is counted within a second of its end.
    for (let n = 0; n < 12; n += 1) {
      const found = await ask(`/api/requests?id=${encodeURIComponent(id)}`).catch(() => null);
      if (found?.requests.length) { setTold(found.requests[0]); return; }
      await new Promise((done) => { setTimeout(done, 250); });
    }
  };
  const send = async (event) => {
    event?.preventDefault();
    if (state === 'asking' || !prompt.trim()) return;
    keep('model', model);
    setText('');
    setTold(null);
    setError(null);
    setState('asking');
    stop.current = new AbortController();
    let id = '';
    try {
      const answer = await fetch('/api/playground', { method: 'POST', headers: { 'content-type': 'application/json', 'x-gemini-balance': '1' }, body: JSON.stringify({ model: model.trim(), prompt, dialect }), signal: stop.current.signal });
      id = answer.headers.get('x-request-id') || '';
      const other = await events(answer, (one) => setText((before) => before + said(one)));
      if (!answer.ok) {
        let why = other;
        try { const body = JSON.parse(other); why = body.error?.message || body.error || other; } catch { /* as it is */ }
        setError(new Error(`${answer.status}: ${why}`));
      } else if (other.trim()) setError(new Error(other.trim()));
    } catch (failed) {
      if (!stop.current.signal.aborted) setError(new Error(t('no.gateway')));
    }
    setState('done');
    if (id) explain(id);
  };
  const keys = (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) send(event); };
  return html`<div class="head"><h1>${t('playground')}</h1><span class="lead">${t('playground.lead')}</span></div>
  <div class="grid2"><form class="panel" onSubmit=${send}><div class="body stack">
      <div class="filters low"><label class="field">${t('model')}<input list="models" required pattern="[A-Za-z0-9._\\-]+" value=${model} onInput=${(event) => setModel(event.target.value)} /></label>
        <datalist id="models">${models.filter((it) => it.model).map((it) => html`<option key=${it.model} value=${it.model} />`)}</datalist>
        <div class="field"><${Choice} label=${t('format')} value=${dialect} onChoose=${setDialect} options=${[['gemini', 'Gemini'], ['openai', 'OpenAI']]} /></div></div>
      <label class="field">${t('prompt')}<textarea required value=${prompt} onInput=${(event) => setPrompt(event.target.value)} onKeyDown=${keys} placeholder=${t('prompt.how')}></textarea></label>
      <div class="actions">${state === 'asking' ? html`<button type="button" onClick=${() => stop.current?.abort()}>${t('stop')}</button>` : html`<button class="main">${t('send')}</button>`}</div>
    </div></form>
    <section class="panel"><header><h2>${t('answer')}</h2>${told ? html`<${Status} status=${told.status} end=${told.end} by=${told.refused_by} /><span class="push">${millis(told.total_ms)}</span>` : null}</header><div class="body stack">
      <${Failure} error=${error} />
      <div class="answer" aria-live="polite" aria-busy=${state === 'asking' ? 'true' : 'false'}>${text || html`<span class="soft">${state === 'asking' ? t('asking') : t('answer.none')}</span>`}</div>
      ${told ? html`${told.usage ? html`<p class="soft">${Object.entries(told.usage).map(([name, n]) => `${word('tokens', name)} ${count(n)}`).join(' · ')}</p>` : null}<h3><a href=${address('requests', {}, told.id)}>${t('timeline')}</a></h3><${Timeline} it=${told} />` : null}
    </div></section></div>`;
}
