import type { MatrixCell, VariantResult } from '../scenario/result.ts';
import { counted, seconds } from './numbers.ts';
import type { Painter } from './text-options.ts';
import { phrase } from './verdict.ts';
import { fold } from './wrap.ts';

/** The table of variants, machines and memory models: a row per variant, a column per machine and model. */
export interface MatrixOptions {
  readonly width: number;
  readonly painter: Painter;
}

const GAP = '  ';

export function renderMatrix(cells: readonly MatrixCell[], options: MatrixOptions): string {
  const blocks = [...new Set(cells.map(({ scenario }) => scenario))].map((id) =>
    table(
      id,
      cells.filter(({ scenario }) => scenario === id),
      options,
    ),
  );
  return [...blocks, closing(cells, options.width)].join('\n');
}

function table(id: string, cells: readonly MatrixCell[], options: MatrixOptions): string {
  const notes = new Notes();
  const variants = [...new Set(cells.map(({ variant }) => variant))];
  const columns = [...new Set(cells.map(columnOf))];
  const text = new Map(cells.map((cell) => [`${cell.variant}\n${columnOf(cell)}`, cell]));
  const first = Math.max(...variants.map((name) => name.length));
  const body = columns.map((column) =>
    variants.map((variant) => {
      const cell = text.get(`${variant}\n${column}`);
      return cell ? { cell, words: words(cell, notes) } : null;
    }),
  );
  const widths = columns.map((column, at) =>
    Math.max(column.length, ...(body[at] ?? []).flatMap(lengths)),
  );
  const lines = parts(widths, options.width - first - 2).map((group) => {
    const line = (head: string, of: (column: number) => string): string =>
      `  ${head.padEnd(first)}${group.map((at) => GAP + of(at)).join('')}`.trimEnd();
    const rows = variants.flatMap((variant, row) => {
      const items = group.map((at) => body[at]?.[row] ?? null);
      const height = Math.max(1, ...items.map((item) => item?.words.length ?? 0));
      return Array.from({ length: height }, (_none, of) =>
        line(of === 0 ? variant : '', (at) =>
          painted(body[at]?.[row] ?? null, of, widths[at] ?? 0, options.painter),
        ),
      );
    });
    return [line('', (at) => (columns[at] ?? '').padEnd(widths[at] ?? 0)), ...rows].join('\n');
  });
  return [id, '', lines.join('\n\n'), '', ...notes.lines(options.width)].join('\n');
}

function columnOf({ machine, model }: MatrixCell): string {
  return `${machine} ${model.toUpperCase()}`;
}

/** Indices of columns, as many in each part as fit beside each other. */
function parts(widths: readonly number[], room: number): number[][] {
  const groups: number[][] = [];
  let used = Infinity;
  widths.forEach((width, at) => {
    if (used + GAP.length + width > room) {
      groups.push([]);
      used = 0;
    }
    groups.at(-1)?.push(at);
    used += GAP.length + width;
  });
  return groups;
}

/** What a cell says; each kind of violation has a line. */
function words({ declared, notApplicable, result }: MatrixCell, notes: Notes): string[] {
  if (notApplicable !== null) return [`-${notes.of(`does not apply: ${notApplicable}`)}`];
  if (result === null) return [`?${notes.of('not explored')}`];
  const found = result.verdict === 'fails' ? result.kinds : [result.verdict];
  if (declared && !result.ok) {
    const [head = '', ...more] = found.map((each) => each.toUpperCase());
    return [head + notes.of(phrase(result)), ...more];
  }
  const open = result.verdict === 'vacuous' || result.verdict === 'inconclusive';
  return open ? [`${result.verdict}${notes.of(phrase(result))}`] : [...found];
}

interface Item {
  readonly cell: MatrixCell;
  readonly words: readonly string[];
}

function lengths(item: Item | null): number[] {
  return item?.words.map((word) => word.length) ?? [];
}

function painted(item: Item | null, line: number, width: number, painter: Painter): string {
  const padded = (item?.words[line] ?? '').padEnd(width);
  if (item === null || item.cell.result === null || padded.trim() === '') return padded;
  const { declared, result } = item.cell;
  if (result.verdict === 'safe') return painter.good(padded);
  if (declared && result.ok) return padded;
  return result.verdict === 'fails' ? painter.bad(padded) : painter.warn(padded);
}

/** Reasons below the table, each once. */
class Notes {
  private readonly texts: string[] = [];

  of(text: string): string {
    if (!this.texts.includes(text)) this.texts.push(text);
    return ` [${this.texts.indexOf(text) + 1}]`;
  }

  lines(width: number): string[] {
    if (this.texts.length === 0) return [];
    const lines = this.texts.flatMap((text, at) => {
      const mark = `  [${at + 1}] `;
      const [head = '', ...more] = fold(text, width - mark.length).split('\n');
      return [mark + head, ...more.map((line) => ' '.repeat(mark.length) + line)];
    });
    return [...lines, ''];
  }
}

function closing(cells: readonly MatrixCell[], width: number): string {
  const results = cells.flatMap(({ result }) => result ?? []);
  const of = (verdict: VariantResult['verdict']): number =>
    results.filter((result) => result.verdict === verdict).length;
  const counts = (['safe', 'fails', 'vacuous', 'inconclusive'] as const)
    .filter((verdict) => of(verdict) > 0)
    .map((verdict) => `${of(verdict)} ${verdict === 'fails' ? 'fail' : verdict}`);
  const none = cells.length - results.length;
  if (none > 0) counts.push(`${none} without a result`);
  const declared = cells.filter((cell) => cell.declared);
  const ok = declared.filter(({ result }) => result?.ok).length;
  const ms = results.reduce((sum, { explored }) => sum + explored.ms, 0);
  const expected = `${ok} of ${declared.length} declared ones as expected (${seconds(ms)}).`;
  return `${fold(`${counted(cells.length, 'cell')}: ${counts.join(', ')}.  ${expected}`, width)}\n`;
}

/** A cell as data. */
export function cellJson(cell: MatrixCell): Record<string, unknown> {
  const { result, ...where } = cell;
  return {
    ...where,
    verdict: result?.verdict ?? null,
    kinds: result?.kinds ?? [],
    expected: cell.declared && result ? result.expected.verdict : null,
    ok: cell.declared ? (result?.ok ?? false) : null,
    limit: result?.limit ?? null,
    never: Object.entries(result?.sometimes ?? {}).flatMap(([title, seen]) =>
      seen === 'never' ? [title] : [],
    ),
    explored: result?.explored ?? null,
    assumptions: result?.assumptions ?? [],
    token: result?.token ?? null,
  };
}
