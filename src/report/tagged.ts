import { ascii } from './ascii.ts';
import type { Row } from './rows.ts';
import { withComment } from './wrap.ts';

/**
 * The tagged layout: row number, actor in brackets, indentation, text. For archives that collapse spaces and
 * for screen readers; also where columns do not fit. It always fits: a row gives up indentation first, then
 * the line of its tag, and only a word longer than a line is split.
 */
export function taggedLayout(rows: readonly Row[], width: number): string[] {
  const digits = Math.max(3, String(rows.length).length + 1);
  return rows.flatMap((row, at) => {
    const tag = `${String(at + 1).padStart(digits)} [${ascii(row.column)}] `;
    for (let { depth } = row; depth >= 0; depth--) {
      const lines = withComment(row.text, row.comment, tag.length + depth * 2, width);
      if (lines) return lines.map((line, n) => (n === 0 ? tag + line.slice(tag.length) : line));
    }
    return [...pieces(tag.trimEnd(), width), ...belowTag(row, width)];
  });
}

const BELOW = 6;

function belowTag(row: Row, width: number): string[] {
  const lines = withComment(row.text, row.comment, BELOW, width);
  if (lines) return lines;
  const whole = row.comment === null ? [row.text] : [row.text, `// ${row.comment}`];
  return whole
    .flatMap((text) => pieces(text, width - BELOW))
    .map((piece) => `${' '.repeat(BELOW)}${piece}`);
}

function pieces(text: string, length: number): string[] {
  const count = Math.ceil(text.length / length);
  return Array.from({ length: count }, (_none, at) =>
    text.slice(at * length, (at + 1) * length).trimEnd(),
  );
}
