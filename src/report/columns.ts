import type { RunReport } from './result.ts';
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
  const starts = columnStarts(names, rows, width);
  const cells = rows.map((row) => cell(row, starts[names.indexOf(row.column)] ?? MARGIN, width));
  if (cells.includes(null)) return null;
  const lines = [headerLine(names, starts), ruleLine(names, starts)];
  if (lines.some((line) => line.length > width)) return null;
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
  const longest = Math.max(
    ...rows.filter((row) => row.column === names[1]).map(neededWidth),
    (names[1] as string).length,
  );
  const start = Math.min(Math.max(width - longest, scaled(28, width)), scaled(39, width));
  return [MARGIN, Math.max(start, MARGIN + (names[0] as string).length + 2)];
}

function neededWidth(row: Row): number {
  const comment = row.comment === null ? 0 : row.comment.length + 5;
  return row.depth * 2 + row.text.length + comment;
}

function scaled(column: number, width: number): number {
  return Math.floor((column * width) / 75);
}

function headerLine(names: readonly string[], starts: readonly number[]): string {
  return place(names, starts);
}

function ruleLine(names: readonly string[], starts: readonly number[]): string {
  return place(
    names.map((name) => '-'.repeat(name.length)),
    starts,
  );
}

function place(texts: readonly string[], starts: readonly number[]): string {
  return texts.reduce((line, text, at) => line.padEnd(starts[at] ?? 0) + text, '');
}
