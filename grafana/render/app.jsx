// A board in a page, drawn with the components and the field logic that Grafana itself draws with. Grafana's
// state timeline is in no package: it is drawn here by hand, close enough to judge texts and colours.
import {
  Registry, applyFieldOverrides, createTheme, dateTime, dateTimeFormat, getFieldDisplayName,
  getFieldDisplayValues, renderMarkdown, standardTransformers, standardTransformersRegistry, ThemeContext,
  toDataFrame, transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, Table, TimeSeries, VizLegend } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { firstValueFrom } from 'rxjs';

const { board, data, annotations, shown, to, since, width, theme: mode, timezone } = window.__BOARD;
const theme = createTheme({ colors: { mode } });
const ROW = 30, GAP = 8, TOP = 88;
const SECONDS = { h: 3600, d: 86400 };

standardTransformersRegistry.setInit(() => {
  const known = new Map(Object.values(standardTransformers).filter((each) => each?.id).map((each) => [each.id, each]));
  return [...known.values()].map((each) => ({ id: each.id, name: each.name, transformation: each, editor: () => null }));
});

// JSON has no infinity: a lowest threshold is saved as null, and Grafana puts it back when it loads a board.
function restoreInfinity({ defaults, overrides }) {
  const inOverrides = overrides.flatMap(({ properties }) => properties).filter(({ id }) => id === 'thresholds');
  for (const thresholds of [defaults.thresholds, ...inOverrides.map(({ value }) => value)]) {
    thresholds?.steps.forEach((step) => { step.value ??= -Infinity; });
  }
}
board.panels.forEach(({ fieldConfig }) => restoreInfinity(fieldConfig));

// --- field options: all that the board sets, each taken as it is -------------------------------------------

function fieldOptions() {
  const ids = new Set(['unit', 'color', 'thresholds', 'min', 'max', 'decimals', 'displayName', 'noValue', 'mappings', 'links', 'fieldMinMax']);
  for (const { fieldConfig } of board.panels) {
    Object.keys(fieldConfig.defaults.custom ?? {}).forEach((name) => ids.add(`custom.${name}`));
    for (const { properties } of fieldConfig.overrides) properties.forEach(({ id }) => ids.add(id));
  }
  return new Registry(() => [...ids].map((id) => ({
    id, name: id, path: id.replace('custom.', ''), isCustom: id.startsWith('custom.'),
    override: () => null, editor: () => null, process: (value) => value, shouldApply: () => true,
  })));
}
const registry = fieldOptions();

// --- answers to frames -------------------------------------------------------------------------------------

function legend(format, labels) {
  if (format !== '__auto') return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, name) => labels[name] ?? '');
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length ? `{${pairs.join(', ')}}` : 'Value';
}

function table(target, { result }, several) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))];
  return [toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: 'time', values: result.map(({ value }) => value[0] * 1000) },
    ...labels.map((label) => ({ name: label, type: 'string', values: result.map(({ metric }) => metric[label]) })),
    { name: several ? `Value #${target.refId}` : 'Value', type: 'number', values: result.map(({ value }) => Number(value[1])) },
  ] })];
}

function series(target, { result, step }) {
  return result.map(({ metric, value, values = [value] }) => toDataFrame({ refId: target.refId, fields: [
    { name: 'Time', type: 'time', config: { interval: step * 1000 }, values: values.map(([at]) => at * 1000) },
    { name: 'Value', type: 'number', labels: metric, values: values.map(([, text]) => Number(text)),
      config: { displayNameFromDS: legend(target.legendFormat, metric) } },
  ] }));
}

async function frames(panel) {
  const targets = panel.targets ?? [];
  let found = targets.flatMap((target, place) =>
    target.format === 'table' ? table(target, data[panel.id][place], targets.length > 1) : series(target, data[panel.id][place]));
  if (panel.transformations?.length) {
    found = await firstValueFrom(transformDataFrame(panel.transformations, found, { interpolate: (text) => text }));
  }
  const palette = panel.type === 'timeseries' ? 'palette-classic' : 'thresholds';
  const defaults = { color: { mode: palette }, ...panel.fieldConfig.defaults };
  return applyFieldOverrides({
    data: found, fieldConfig: { ...panel.fieldConfig, defaults }, fieldConfigRegistry: registry,
    replaceVariables: (text) => text, theme, timeZone: timezone,
  });
}

// --- panels ------------------------------------------------------------------------------------------------

function range(panel) {
  const text = panel.timeFrom;
  const span = text ? parseInt(text, 10) * SECONDS[text.at(-1)] : since;
  const [from, until] = [dateTime((to - span) * 1000), dateTime(to * 1000)];
  return { from, to: until, raw: { from, to: until } };
}

function Empty({ panel, width, height }) {
  const text = panel.fieldConfig.defaults.noValue ?? 'No data';
  return <div style={{ width, height, display: 'grid', placeItems: 'center', fontSize: 18 }}>{text}</div>;
}

function regions(times) {
  const found = [];
  for (const at of times) {
    if (found.length && at - found.at(-1)[1] <= 60) found.at(-1)[1] = at;
    else found.push([at, at]);
  }
  return found;
}

function marks(builder) {
  builder.addHook('draw', (plot) => {
    for (const { color, times } of annotations) {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.fillStyle = ctx.strokeStyle = theme.visualization.getColorByName(color);
      for (const [begin, end] of regions(times)) {
        const [left, right] = [begin, end].map((at) => Math.max(bbox.left, plot.valToPos(at * 1000, 'x', true)));
        ctx.globalAlpha = 0.1;
        ctx.fillRect(left, bbox.top, right - left, bbox.height);
        ctx.globalAlpha = 1;
        ctx.fillRect(left, bbox.top + bbox.height, Math.max(right - left, 3), 4);
      }
      ctx.restore();
    }
  });
  return null;
}

function Graph({ panel, found, width, height }) {
  return <TimeSeries frames={found} structureRev={1} timeRange={range(panel)} timeZone={timezone} width={width} height={height}
    legend={panel.options.legend} options={panel.options} theme={theme}>{marks}</TimeSeries>;
}

function Stat({ panel, found, width, height }) {
  const { fieldConfig, options } = panel;
  const values = getFieldDisplayValues({
    fieldConfig: { ...fieldConfig, defaults: { ...fieldConfig.defaults } }, reduceOptions: { values: false, fields: '', ...options.reduceOptions },
    replaceVariables: (text) => text, theme, data: found, timeZone: timezone,
  });
  const each = Math.floor((width - GAP * (values.length - 1)) / values.length);
  return <div style={{ display: 'flex', gap: GAP }}>{values.map(({ display }, place) =>
    <BigValue key={place} width={each} height={height} theme={theme} value={display} count={values.length}
      colorMode={options.colorMode} graphMode="none" justifyMode={options.justifyMode} textMode={options.textMode} />)}</div>;
}

function Timeline({ panel, found, width, height }) {
  const { from, to: until } = range(panel);
  const rows = found.map((frame) => {
    const [times, values] = [frame.fields[0], frame.fields[1]];
    return { name: getFieldDisplayName(values, frame, found), bars: bars(times.values, values, times.config.interval) };
  });
  const names = 190, tall = (height - 60) / Math.max(rows.length, 1);
  const x = (at) => ((at - from.valueOf()) / (until.valueOf() - from.valueOf())) * (width - names - 20);
  const used = new Map(rows.flatMap(({ bars }) => bars.map(({ text, color }) => [text, color])));
  return <div>
    {rows.map(({ name, bars }) => <div key={name} style={{ height: tall, display: 'flex', alignItems: 'center' }}>
      <span style={{ width: names, textAlign: 'right', paddingRight: 8, fontSize: 12 }}>{name}</span>
      <div style={{ position: 'relative', height: '80%', flex: 1 }}>{bars.map(({ begin, end, text, color }) =>
        <div key={begin} style={{ position: 'absolute', left: x(begin), width: Math.max(1, x(end) - x(begin)), height: '100%',
          background: `color-mix(in srgb, ${color} 70%, transparent)`, color: theme.colors.getContrastText(color, 3), overflow: 'hidden', fontSize: 12, padding: '0 2px', display: 'flex', alignItems: 'center' }}>
          {x(end) - x(begin) > 40 ? text : ''}</div>)}</div></div>)}
    <div style={{ display: 'flex', justifyContent: 'space-between', margin: `0 20px 4px ${names}px`, fontSize: 12 }}>
      {[0, 1, 2, 3, 4].map((place) => <span key={place}>{dateTimeFormat(from.valueOf() + ((until - from) * place) / 4,
        { format: 'MM/DD HH:mm', timeZone: timezone })}</span>)}</div>
    <VizLegend displayMode="list" placement="bottom" items={[...used].map(([label, color]) => ({ label, color, yAxis: 1 }))} />
  </div>;
}

function bars(times, field, step) {
  const found = [];
  times.forEach((at, place) => {
    const { text, color } = field.display(field.values[place]);
    const last = found.at(-1);
    if (last?.text === text && at - last.end <= step) last.end = at + step;
    else found.push({ begin: at, end: at + step, text, color });
  });
  return found;
}

const KINDS = {
  timeseries: Graph,
  stat: Stat,
  'state-timeline': Timeline,
  table: ({ panel, found, width, height }) => <Table data={found[0]} width={width} height={height} cellHeight={panel.options.cellHeight}
    initialSortBy={panel.options.sortBy} showTypeIcons={false} timeRange={range(panel)} />,
  text: ({ panel }) => <div className="markdown-html" dangerouslySetInnerHTML={{ __html: renderMarkdown(panel.options.content) }} />,
};

function Panel({ panel, found }) {
  const { x, y, w, h } = panel.gridPos;
  const column = (width - 2 * GAP + GAP) / 24;
  const [wide, tall] = [w * column - GAP, h * (ROW + GAP) - GAP];
  const Kind = KINDS[panel.type];
  const empty = panel.type !== 'text' && !found.some((frame) => frame.length);
  return <div style={{ position: 'absolute', left: GAP + x * column, top: TOP + y * (ROW + GAP), width: wide, height: tall }}>
    <PanelChrome title={panel.title} description={panel.description} width={wide} height={tall}
      titleItems={panel.timeFrom ? <span style={{ fontSize: 12, color: theme.colors.text.link }}>Last {panel.timeFrom}</span> : null}>
      {(width, height) => (empty ? <Empty {...{ panel, width, height }} /> : <Kind {...{ panel, found, width, height }} />)}
    </PanelChrome></div>;
}

function Head() {
  const box = { border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2, background: theme.colors.background.primary, padding: '4px 10px' };
  const name = { ...box, background: theme.colors.background.secondary };
  return <div style={{ padding: '12px 8px 0' }}>
    <div style={{ fontSize: 18, marginBottom: 10 }}>{board.title}</div>
    <div style={{ display: 'flex', gap: 8 }}>{shown.map(([label, value]) =>
      <span key={label} style={{ display: 'flex' }}><span style={name}>{label}</span><span style={box}>{value}</span></span>)}</div>
  </div>;
}

const found = await Promise.all(board.panels.map(frames));
const rows = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}><GlobalStyles />
    <div style={{ position: 'relative', width, height: TOP + rows * (ROW + GAP) + GAP, background: theme.colors.background.canvas,
      color: theme.colors.text.primary, fontFamily: 'Inter, Helvetica, Arial, sans-serif', fontSize: 14 }}>
      <Head />{board.panels.map((panel, place) => <Panel key={panel.id} panel={panel} found={found[place]} />)}
    </div>
  </ThemeContext.Provider>,
);
