// Plots over time. Their colours are the page's, read from its style; the library is loaded with the first plot.
import { html, useEffect, useRef, useState } from '/assets/vendor/preact.js';
import { theme } from '/assets/theme.js';
import { lang, t } from '/assets/i18n.js';
import { moment, short } from '/assets/format.js';

const HUES = [['#3451d1', '#8da4ff'], ['#0f8a83', '#4fd1c5'], ['#b4690e', '#f0b35a'], ['#9a3fb5', '#d99bee'], ['#667085', '#a3acbb'], ['#c0392b', '#ff9c8f']];

const TONES = { warn: ['#d08a1a', '#e3b341'], bad: ['#bb2430', '#ff8d8d'], off: ['#a3abb8', '#5d6573'] };

/** The colour of the n-th series, or of what it says. @param {{tone?: string}} one @param {number} n */
function hue(one, n) {
  const [light, dark] = TONES[one.tone || ''] || HUES[n % HUES.length];
  return isDark() ? dark : light;
}

function isDark() {
  return theme.value === 'dark' || (theme.value === 'auto' && matchMedia('(prefers-color-scheme: dark)').matches);
}

function colour(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/**
 * `at` are seconds; each series has a name and its values. Bars stand on each other, lines do not.
 * @param {{at: number[], series: {name: string, tone?: string, values: (number|null)[]}[], bars?: boolean, show?: (n: number) => string, height?: number, label: string, whole?: boolean}} props
 */
export function Plot({ at, series, bars, show = short, height = 200, label, whole }) {
  const place = useRef(/** @type {HTMLElement|null} */ (null));
  const [Made, setMade] = useState(/** @type {any} */ (null));
  const [over, setOver] = useState(/** @type {number|null} */ (null));
  const [scheme, setScheme] = useState(0);
  useEffect(() => { import('/assets/vendor/uplot.js').then((it) => setMade(() => it.default)); }, []);
  useEffect(() => {
    const media = matchMedia('(prefers-color-scheme: dark)');
    const changed = () => setScheme((n) => n + 1);
    media.addEventListener('change', changed);
    return () => media.removeEventListener('change', changed);
  }, []);
  const shape = JSON.stringify([series.map((one) => one.name), bars, theme.value, lang.value, scheme, height, whole, bars && at.length > 1]);
  const plot = useRef(/** @type {any} */ (null));
  const data = () => {
    if (!bars) return [at, ...series.map((one) => one.values)];
    const sums = at.map(() => 0);
    const stacked = series.map((one) => one.values.map((value, i) => (sums[i] += value || 0)));
    return [at, ...stacked.reverse()];
  };
  useEffect(() => {
    if (!Made || !place.current) return undefined;
    const soft = colour('--soft');
    const grid = colour('--grid');
    const axis = { stroke: soft, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: '11px system-ui, sans-serif' };
    const width = () => Math.max(200, place.current?.clientWidth || 600);
    const drawn = series.map((one, n) => ({
      label: one.name, stroke: hue(one, n), width: bars ? 0 : 2, fill: bars ? hue(one, n) : `${hue(one, n)}1c`, points: { show: false },
      ...(bars ? { paths: Made.paths.bars({ size: [0.8, 36], radius: 0.1 }) } : { spanGaps: false }),
    }));
    const options = {
      width: width(), height, legend: { show: false }, padding: [10, 20, 0, 0],
      cursor: { y: false, points: { show: !bars, size: 7 }, drag: { x: false, y: false } },
      scales: { ...(bars && at.length > 1 ? { x: { range: (_, min, max) => { const half = (at[1] - at[0]) * 0.6; return [min - half, max + half]; } } } : {}), y: { range: (_, __, max) => [0, max > 0 ? max * 1.08 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 80, values: (self, splits) => { const span = splits[splits.length - 1] - splits[0]; return splits.map((s) => new Intl.DateTimeFormat(lang.value, span > 172800 ? { month: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit', hour12: false }).format(s * 1000)); } },
        { ...axis, size: 52, ...(whole ? { incrs: [1, 2, 5].flatMap((n) => Array.from({ length: 12 }, (_, e) => n * 10 ** e)).sort((one, other) => one - other) } : {}), values: (_, splits) => splits.map((n) => show(n)) },
      ],
      series: [{}, ...(bars ? drawn.reverse() : drawn)],
      hooks: { setCursor: [(self) => setOver(self.cursor.idx ?? null)] },
    };
    plot.current = new Made(options, data(), place.current);
    const watch = new ResizeObserver(() => plot.current?.setSize({ width: width(), height }));
    watch.observe(place.current);
    return () => { watch.disconnect(); plot.current?.destroy(); plot.current = null; };
  }, [Made, shape]);
  useEffect(() => { plot.current?.setData(data()); });
  const index = over !== null && over < at.length ? over : null;
  return html`<div>
    <div class="plot" ref=${place} style=${{ minHeight: `${height}px` }} role="img" aria-label=${label}></div>
    <div class="plot-legend">${series.map((one, n) => html`<span key=${one.name}><i style=${{ background: hue(one, n) }}></i>${one.name || t('none')}${index === null ? null : html` <b>${show(one.values[index] || 0)}</b>`}</span>`)}
      ${index === null ? null : html`<span>${moment(at[index] * 1000)}</span>`}</div>
  </div>`;
}
