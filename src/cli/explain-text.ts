import { draw, drawingTitle, rangeText } from '../arch/drawing.ts';
import type { EntryFormat, Field } from '../arch/entry-format.ts';
import type { TableKind } from '../arch/table-kind.ts';
import type { Wait } from '../arch/waits.ts';
import { citationText, type Fact } from '../base/citation.ts';
import { fold } from '../report/wrap.ts';

/** What `gracewalk explain ARCH` says: a view of the descriptor, nothing of its own. */

const WIDTH = 75;

export function explainText(kind: TableKind): string {
  const { access, hardware, flush, walkers, tables, waits } = kind.rules;
  const formats = [...kind.formats, ...kind.roots];
  return [
    `${kind.name}: ${kind.title}`,
    '',
    ...summary(kind),
    '',
    ...levelTable(kind),
    '',
    'Entries',
    '',
    ...formats.flatMap((it) => [
      drawingTitle(kind, it),
      ...draw(it, WIDTH - 4).map((line) => `    ${line}`),
      '',
    ]),
    'Fields',
    '',
    ...fieldTable(formats),
    '',
    ...facts('Reading and writing entries', access),
    ...facts('What hardware writes', hardware),
    ...facts('What a flush waits for', flush),
    ...facts('What protects a walker', walkers),
    ...waitTable(waits),
    ...facts('Tables', tables),
  ]
    .join('\n')
    .replace(/\n+$/, '\n');
}

function summary(kind: TableKind): string[] {
  const order = `entries of 8 bytes, ${kind.byteOrder}-endian in memory`;
  const upper = {
    sign: 'higher bits copy the highest',
    zero: 'higher bits are zero',
    root: 'higher bits, all 0 or all 1, choose the root',
  }[kind.upperBits];
  const addresses = `${kind.stage === 2 ? 'guest-physical' : 'virtual'} addresses of ${kind.addressBits} bits`;
  return [`${kind.stage === 2 ? 'Second stage; ' : ''}${order};`, `${addresses}, ${upper}.`];
}

function sizeOf(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  const unit = Math.floor(Math.log2(bytes) / 10);
  return `${bytes / 2 ** (10 * unit)} ${units[unit]}`;
}

function levelTable({ levels, formats }: TableKind): string[] {
  const rows = [['level', 'index', 'entries', 'table', 'leaf', 'called']];
  for (const [at, { name, title, shift, bits, bytes }] of [...levels.entries()].reverse()) {
    const leaf = formats.some((it) => it.kind === 'leaf' && it.levels.includes(at));
    rows.push([
      name,
      `${shift + bits - 1}..${shift}`,
      String(2 ** bits),
      sizeOf(bytes),
      leaf ? sizeOf(2 ** shift) : '-',
      title,
    ]);
  }
  return columns(rows);
}

/** Each name once with all its places and meanings. */
function fieldTable(formats: readonly EntryFormat[]): string[] {
  const known = new Map<string, string[]>();
  for (const field of formats.flatMap((it) => it.fields)) {
    if (field.role === 'ignored' || field.role === 'reserved' || field.name === '0') continue;
    const key = `${field.name} ${field.meaning}`;
    if (!known.has(key)) known.set(key, [field.name, rangeText(field), field.who, meaning(field)]);
  }
  return columns([['field', 'bits', 'writer', 'meaning'], ...known.values()]);
}

function meaning({ meaning: text, values = {}, is }: Field): string {
  if (is !== undefined) return `${is < 10 ? is : `0x${is.toString(16)}`}: ${text}`;
  const named = Object.entries(values).filter(([, name]) => name !== '');
  if (named.length === 0) return text;
  return `${text}: ${named.map(([value, name]) => `${value} ${name}`).join(', ')}`;
}

/** Columns two apart; the last one is folded. */
function columns(rows: readonly (readonly string[])[]): string[] {
  const last = (rows[0]?.length ?? 1) - 1;
  const widths = Array.from({ length: last }, (_, at) =>
    Math.max(...rows.map((row) => (row[at] ?? '').length)),
  );
  const indent = 2 + widths.reduce((sum, width) => sum + width + 2, 0);
  return rows.flatMap((row) => {
    const head = widths.map((width, at) => (row[at] ?? '').padEnd(width + 2)).join('');
    const [first = '', ...more] = fold(row[last] ?? '', Math.max(24, WIDTH - indent)).split('\n');
    return [`  ${head}${first}`.trimEnd(), ...more.map((line) => ' '.repeat(indent) + line)];
  });
}

/** A row for each wait, a column for each reader. */
function waitTable(waits: readonly Wait[]): string[] {
  if (waits.length === 0) return [];
  const head = ['waits with', 'irqs off', 'foreign', 'RCU', 'vCPU out', 'hardware'];
  const rows = waits.map(({ by, covers }) => [
    by,
    covers.irqOff,
    covers.foreign,
    covers.rcuReadLock,
    covers.descheduled,
    covers.hardware,
  ]);
  const sources = waits.flatMap(({ by, cite }) => bullet('- ', `${by} [${citationText(cite)}]`));
  return ['Which wait covers which reader', '', ...columns([head, ...rows]), '', ...sources, ''];
}

function facts(title: string, list: readonly Fact[]): string[] {
  const lines = list.flatMap(({ says, cite }) => [
    ...bullet('- ', says),
    ...bullet('  ', `[${citationText(cite)}]`),
  ]);
  return [title, '', ...lines, ''];
}

function bullet(mark: string, text: string): string[] {
  return fold(text, WIDTH - 4)
    .split('\n')
    .map((line, at) => `  ${at === 0 ? mark : '  '}${line}`);
}

export function explainJson(kind: TableKind): object {
  const { name, title, stage, byteOrder, pageShift, addressBits, upperBits, levels, rules } = kind;
  const { waits, ...stated } = rules;
  return {
    schema: 'gracewalk.explain/1',
    name,
    title,
    stage,
    byteOrder,
    pageShift,
    addressBits,
    upperBits,
    access: kind.access,
    hardware: {
      accessed: kind.hardware.accessed,
      dirty: kind.hardware.dirty,
      tables: kind.hardware.tables,
    },
    levels: levels.map((level) => ({ ...level, cite: citationText(level.cite) })),
    formats: [...kind.formats, ...kind.roots].map((it) => ({
      name: it.name,
      kind: it.kind,
      kernel: it.only ?? null,
      levels: it.levels.map((at) => levels[at]?.name),
      fields: it.fields.map(({ cite, ...field }) => ({
        ...field,
        source: citationText(cite ?? it.cite),
      })),
      source: citationText(it.cite),
    })),
    waits: waits.map(({ cite, ...it }) => ({ ...it, source: citationText(cite) })),
    rules: Object.fromEntries(
      Object.entries<readonly Fact[]>(stated).map(([key, list]) => [
        key,
        list.map(({ says, cite }) => ({ says, source: citationText(cite) })),
      ]),
    ),
  };
}
