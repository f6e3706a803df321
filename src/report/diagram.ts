import { columnLayout } from './columns.ts';
import type { RunReport, SourceLines } from '../scenario/result.ts';
import { rowsOf, type Detail } from './rows.ts';
import { taggedLayout } from './tagged.ts';

export interface DiagramOptions {
  /** Longest line, at least 48. */
  readonly width: number;
  readonly layout: 'columns' | 'tagged';
  readonly detail: Detail;
  readonly source: SourceLines;
}

/** The diagram of a run: ASCII, spaces only, framed by a blank line, no claim in it (R1 to R15). */
export function renderDiagram(run: RunReport, options: DiagramOptions): string {
  const rows = rowsOf(run, options.detail, options.source);
  const columns = options.layout === 'columns' ? columnLayout(run, rows, options.width) : null;
  const lines = columns ?? taggedLayout(rows, options.width);
  return ['', ...lines, ''].join('\n');
}
