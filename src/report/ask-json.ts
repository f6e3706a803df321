import type { AskResult } from '../ask/result.ts';
import type { SourceLines } from '../scenario/result.ts';
import { runJson } from './json.ts';

/** Answers as one JSON document. Removing a field or changing its meaning changes the schema's number. */
export const ASK_SCHEMA = 'gracewalk.ask/1';

export function askDocument(
  results: readonly AskResult[],
  engine: string,
  source: SourceLines,
): Record<string, unknown> {
  return {
    schema: ASK_SCHEMA,
    engine,
    ok: results.every(({ ok }) => ok),
    results: results.map(({ run, ...rest }) => ({
      ...rest,
      ...(run ? { violation: run.violation, ...runJson(run, source) } : { steps: [] }),
    })),
  };
}
