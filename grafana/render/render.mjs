// Draws a board with Grafana's own components on what a Prometheus answers, and has Chromium take a picture.
// README.md says how to call it.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { build } from 'esbuild';

const HERE = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prometheus: { type: 'string', default: 'http://localhost:9090' },
    to: { type: 'string', default: String(Math.floor(Date.now() / 1000)) },
    since: { type: 'string' },
    theme: { type: 'string', default: 'light' },
    timezone: { type: 'string', default: 'utc' },
    width: { type: 'string', default: '1600' },
    var: { type: 'string', multiple: true, default: [] },
    out: { type: 'string' },
  },
});
if (positionals.length !== 1) {
  console.error('usage: node render.mjs [--prometheus URL] [--theme light|dark] [--to SECONDS] [--since 2d]'
    + ' [--timezone Europe/Moscow] [--width 1280] [--var link=spring-sale]... [--out FILE.png] BOARD.json');
  process.exit(2);
}

const WIDTH = Number(options.width);
const seconds = (text) => Number.parseInt(text, 10) * SECONDS[text.at(-1)];
const board = JSON.parse(readFileSync(positionals[0], 'utf8'));
const to = Number(options.to);
const since = seconds(options.since ?? board.time.from.replace('now-', ''));
const chosen = Object.fromEntries(options.var.map((each) => each.split('=')));

async function ask(path, question) {
  const answer = await fetch(`${options.prometheus}/api/v1/${path}?${new URLSearchParams(question)}`);
  const body = await answer.json();
  if (body.status !== 'success') throw new Error(`${body.error}\n${question.query ?? question['match[]']}`);
  return body.data.result ?? body.data;
}

// --- variables ---------------------------------------------------------------------------------------------

const variables = { __rate_interval: '2m' };
const shown = [];
for (const variable of board.templating.list) {
  if (variable.type === 'datasource') { shown.push([variable.label, 'Prometheus']); continue; }
  let value = chosen[variable.name] ?? variable.current?.value;
  if (value === undefined) value = (await offered(variable))[0] ?? '';
  variables[variable.name] = value === '$__all' ? variable.allValue : value;
  if (variable.hide !== 2) shown.push([variable.label, value === '$__all' ? 'All' : value]);
}

async function offered(variable) {
  const [, series, label] = /^label_values\((.+), (\w+)\)$/.exec(putIn(variable.query.query));
  return (await ask(`label/${label}/values`, { 'match[]': series, start: to - since, end: to })).sort();
}

function putIn(text, more = {}) {
  return text.replace(/\$(\w+)/g, (_, name) => ({ ...variables, ...more })[name]);
}

board.panels.forEach((panel) => { panel.title = putIn(panel.title); });

// --- queries -----------------------------------------------------------------------------------------------

async function results(panel, target) {
  const span = panel.timeFrom ? seconds(panel.timeFrom) : since;
  const points = panel.maxDataPoints ?? (panel.gridPos.w * WIDTH) / 24;
  const least = target.interval ?? panel.interval ?? '30s';
  const step = Math.max(seconds(least), Math.ceil(span / points / 15) * 15);
  const more = { __range: `${span}s`, __rate_interval: `${Math.max(step + 30, 120)}s` };
  const query = putIn(target.expr, more);
  if (target.instant) return { step, result: await ask('query', { query, time: to }) };
  const end = Math.floor(to / step) * step;
  return { step, result: await ask('query_range', { query, start: end - span, end, step }) };
}

const data = {};
for (const panel of board.panels) {
  data[panel.id] = await Promise.all((panel.targets ?? []).map((target) => results(panel, target)));
}
const annotations = [];
for (const each of board.annotations.list ?? []) {
  const found = await ask('query_range', { query: putIn(each.expr), start: to - since, end: to, step: 60 });
  for (const series of found) annotations.push({ color: each.iconColor, times: series.values.map(([at]) => at) });
}

// --- picture -----------------------------------------------------------------------------------------------

const folder = mkdtempSync(join(tmpdir(), 'board-'));
try {
  await build({
    entryPoints: [join(HERE, 'app.jsx')],
    outfile: join(folder, 'app.js'),
    bundle: true,
    jsx: 'automatic',
    platform: 'browser',
    format: 'esm',
    mainFields: ['browser', 'module', 'main'],
    define: { 'process.env.NODE_ENV': '"production"', 'process.env.JEST_WORKER_ID': 'undefined', global: 'window' },
    loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'empty', '.css': 'empty' },
    alias: Object.fromEntries(['stream', 'tty', 'util'].map((name) => [name, join(HERE, 'empty.cjs')])),
    logLevel: 'error',
    plugins: [{
      // The CommonJS builds: the others import CommonJS packages in a way that bundlers take differently.
      name: 'commonjs',
      setup: (each) => each.onResolve({ filter: /^@grafana\/(data|i18n|schema|ui)$/ }, ({ path }) => ({ path: require.resolve(path) })),
    }],
  });
  const shownData = { board, data, annotations, shown, to, since, width: WIDTH, theme: options.theme, timezone: options.timezone };
  const css = readFileSync(require.resolve('uplot/dist/uPlot.min.css'), 'utf8');
  const script = (text, kind = '') => `<script ${kind}>${text.replaceAll('</script', '<\\/script')}</script>`;
  writeFileSync(join(folder, 'index.html'), `<!doctype html><meta charset=utf-8><style>${css} body { margin: 0 }</style><div id=root></div>`
    + script(`window.process = { env: {} }; window.__BOARD = ${JSON.stringify(shownData)}`)
    + script(readFileSync(join(folder, 'app.js'), 'utf8'), 'type=module'));
  const rows = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
  const out = resolve(options.out ?? `${basename(positionals[0], '.json')}-${options.theme}.png`);
  execFileSync('chromium', ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--force-device-scale-factor=1',
    '--virtual-time-budget=10000', `--window-size=${WIDTH},${rows * 38 + 96}`, `--screenshot=${out}`,
    `file://${join(folder, 'index.html')}`], {
    stdio: process.env.DEBUG ? 'inherit' : 'ignore',
    env: { ...process.env, TZ: options.timezone.replace(/^utc$/i, 'UTC') }, // what transformations go by
  });
  console.log(out);
} finally {
  rmSync(folder, { recursive: true });
}
