import type { VariantResult } from '../scenario/result.ts';

/**
 * What the process returns. Scripts and `git bisect run` depend on these numbers:
 *
 *   0  every variant behaved as declared
 *   1  a violation or another unexpected verdict
 *   2  bad input: usage, syntax, scenario; or the result could not be written
 *   3  inconclusive: a limit was hit, or Ctrl-C
 *   4  vacuous: something that must be seen never was
 *   5  a fault of the engine, or a scenario that is not deterministic
 */
export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5;

/** Worst first. A fault casts doubt on every other answer, and bad input means that something was not checked. */
const WORST_FIRST: readonly ExitCode[] = [5, 2, 1, 3, 4, 0];

/** The code of several outcomes together. */
export function worst(codes: Iterable<ExitCode>): ExitCode {
  const all = new Set(codes);
  return WORST_FIRST.find((code) => all.has(code)) ?? 0;
}

export function exitCodeOf(result: VariantResult): ExitCode {
  if (result.verdict === 'inconclusive') return 3;
  if (result.verdict === 'vacuous') return 4;
  return result.ok ? 0 : 1;
}

/** Errors that are about the engine's premises and not about what somebody typed. */
const FAULTS: ReadonlySet<string> = new Set(['E303']);

/** The code of an error by its id; null is an error without one, a fault of gracewalk itself. */
export function exitCodeOfError(id: string | null): ExitCode {
  if (id === null || FAULTS.has(id)) return 5;
  // E2xx: the variant tells nothing (4). E302: a loop's own bound ended the search (3).
  if (id.startsWith('E2')) return 4;
  return id === 'E302' ? 3 : 2;
}

/** `git bisect run` skips a commit that cannot be tested. */
const SKIP = 125;

/** The code of `--bisect`: good, bad, and everything that is neither. */
export function forBisect(code: ExitCode): number {
  return code <= 1 ? code : SKIP;
}
