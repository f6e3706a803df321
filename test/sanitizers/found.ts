import { explore } from '../../src/explore/explore.ts';
import type { Program } from '../../src/explore/run.ts';

/** What an exploration finds: every message with its kind, sorted. */
export function found(program: Program): string[] {
  const { runs, violations } = explore(program);
  if (runs === 0) throw new Error('the program has no complete run: it shows nothing');
  return [...violations.values()]
    .map(({ violation: { kind, message } }) => `${kind}: ${message}`)
    .sort();
}
