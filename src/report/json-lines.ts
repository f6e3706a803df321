import { resultJson } from './json.ts';
import type { SourceLines, VariantResult } from '../scenario/result.ts';

/**
 * `--json=lines`: one object per line, as things happen. `type` says which:
 *
 *     start     first: schema and engine
 *     plan      the variants that will be checked, in order
 *     progress  how far the search of a variant has come
 *     result    a variant is done; the fields of a result in the one document
 *     error     what kept a file or a variant from being checked
 *     end       last: whether all was as declared; without it the lines are incomplete
 *
 * Removing a type or a field or changing its meaning changes the schema's number; adding does not.
 */
export const LINES_SCHEMA = 'gracewalk.lines/1';

type LineType = 'start' | 'plan' | 'progress' | 'result' | 'error' | 'end';

export function jsonLine(type: LineType, fields: object): string {
  return `${JSON.stringify({ type, ...fields })}\n`;
}

export function startLine(engine: string): string {
  return jsonLine('start', { schema: LINES_SCHEMA, engine });
}

export function resultLine(result: VariantResult, source: SourceLines): string {
  return jsonLine('result', resultJson(result, source));
}
