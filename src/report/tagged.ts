import type { Row } from './rows.ts';
import { withComment } from './wrap.ts';

/**
 * The tagged layout: row number, actor in brackets, indentation, text. For archives that collapse spaces and
 * for screen readers; also where columns do not fit.
 */
export function taggedLayout(rows: readonly Row[], width: number): string[] {
  const digits = Math.max(3, String(rows.length).length);
  return rows.flatMap((row, at) => {
    const tag = `${String(at + 1).padStart(digits)} [${row.column}] `;
    const indent = tag.length + row.depth * 2;
    const room = Math.max(width, indent + longestWord(row) + 4); // a word that fits nowhere runs over
    const lines = withComment(row.text, row.comment, indent, room) ?? [];
    return lines.map((line, number) => (number === 0 ? tag + line.slice(tag.length) : line));
  });
}

function longestWord(row: Row): number {
  const words = `${row.text} ${row.comment ?? ''}`.split(' ');
  return words.every((word) => word.length < 40)
    ? 0
    : Math.max(...words.map((word) => word.length));
}
