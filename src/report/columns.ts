import { ascii } from './ascii.ts';
import type { RunReport } from '../scenario/result.ts';
import type { Row } from './rows.ts';
import { withComment } from './wrap.ts';

const MARGIN = 2;

/**
 * R1 to R3, R5, R12, R13: one column per CPU, time downwards, a blank line where somebody else runs. Null if
 * that is impossible (four columns, a word that does not fit): then the tagged layout is used.
 */
export function columnLayout(run: RunReport, rows: readonly Row[], width: number): string[] | null {
  const names = run.columns.filter((name) => rows.some((row) => row.column === name));
  if (names.length === 0 || names.length > 3) return null;
  if (rows.some((row) => !names.includes(row.column))) return null;
  const starts = columnStarts(names, rows, width);
  const cells = rows.map((row) => cell(row, starts[names.indexOf(row.column)] ?? MARGIN, width));
  if (cells.includes(null)) return null;
  const header = headerLines(names.map(ascii), starts, width);
  if (header === null) return null;
  const lines = [...header];
  rows.forEach((row, at) => {
    if (at > 0 && rows[at - 1]?.column !== row.column) lines.push('');
    lines.push(...(cells[at] as string[]));
  });
  return lines;
}

function cell(row: Row, start: number, width: number): string[] | null {
  return withComment(row.text, row.comment, start + row.depth * 2, width);
}

/**
 * The second of two columns starts between 28 and 39 (of 75): as far left as its longest line needs and no
 * further. Three columns start at fixed thirds.
 */
function columnStarts(names: readonly string[], rows: readonly Row[], width: number): number[] {
  if (names.length === 1) return [MARGIN];
  if (names.length === 3) return [MARGIN, scaled(26, width), scaled(50, width)];
  const least = scaled(28, width);
  const own = rows.filter((row) => row.column === names[1]);
  const longest = Math.max(...own.map((row) => neededWidth(row, width - least)));
  const start = Math.min(Math.max(width - longest, least), scaled(39, width));
  return [MARGIN, Math.max(start, MARGIN + (names[0] as string).length + 2)];
}

/** `most`: the room there is at best. A comment that does not fit even there goes below the statement. */
function neededWidth(row: Row, most: number): number {
  const text = row.depth * 2 + row.text.length;
  if (row.comment === null) return text;
  const behind = text + row.comment.length + 5;
  return behind <= most ? behind : Math.max(text, row.depth * 2 + row.comment.length + 5);
}

function scaled(column: number, width: number): number {
  return Math.floor((column * width) / 75);
}

/** The names and a rule under each; null if two of them touch or the last does not fit. */
function headerLines(
  names: readonly string[],
  starts: readonly number[],
  width: number,
): string[] | null {
  const end = (at: number): number => (starts[at] as number) + (names[at] as string).length;
  const fits = names.every((_name, at) => end(at) <= (starts[at + 1] ?? width + 2) - 2);
  if (!fits) return null;
  const place = (texts: readonly string[]): string =>
    texts.reduce((line, text, at) => line.padEnd(starts[at] as number) + text, '');
  return [place(names), place(names.map((name) => '-'.repeat(name.length)))];
}
