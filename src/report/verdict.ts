import { counted, grouped } from './numbers.ts';
import type { LimitHit, VariantResult } from '../scenario/result.ts';

/** Verdicts in words: one phrase each, the same in the table, in --quiet and in KTAP. */

export function expectation({ verdict, kinds }: VariantResult['expected']): string {
  if (verdict === 'safe') return 'safe';
  return kinds.length === 0 ? 'to fail' : `to fail with ${kinds.join(', ')}`;
}

/** All that matters of a result, on one line. */
export function phrase(result: VariantResult): string {
  return [word(result), ...unused(result)].join(', ');
}

function word(result: VariantResult): string {
  const { verdict, kinds, expected, ok, limit } = result;
  if (verdict === 'inconclusive') return limit ? `${verdict}, ${stoppedBy(limit)}` : verdict;
  if (verdict === 'vacuous') return [verdict, ...unseen(result)].join(', ');
  const found = verdict === 'fails' ? kinds.join(', ') : verdict;
  // A failure where safety was declared speaks for itself.
  const plain = ok || (verdict === 'fails' && expected.verdict === 'safe');
  return plain || sameKinds(result) ? found : `${found}, expected ${expectation(expected)}`;
}

/** As declared but for another reason: a patch that nothing calls. */
function sameKinds({ kinds, expected }: VariantResult): boolean {
  return kinds.length > 0 && kinds.join() === expected.kinds.join();
}

function unseen({ explored, sometimes }: VariantResult): string[] {
  if (explored.runs === 0) return ['no run was completed'];
  const never = Object.keys(sometimes).filter((name) => sometimes[name] === 'never');
  return never.length === 0 ? [] : [`never seen: ${never.map((name) => `'${name}'`).join(', ')}`];
}

function unused({ neverCalled }: VariantResult): string[] {
  return neverCalled.map(withoutEffect);
}

/** What a variant changes and nobody notices. */
export function withoutEffect({
  name,
  protection = false,
}: VariantResult['neverCalled'][number]): string {
  return protection
    ? `there is no protection '${name}' to take away`
    : `patched function ${name}() is never called`;
}

export function stoppedBy(limit: LimitHit): string {
  if (limit.name === 'interrupt') return 'interrupted';
  if (limit.name === 'switches') {
    return `only runs of up to ${counted(limit.value, 'context switch').replace(/hs$/, 'hes')} were tried`;
  }
  if (limit.name === 'random' || limit.name === 'pct') {
    const how = limit.name === 'pct' ? 'chosen by PCT' : 'chosen at random';
    return `only ${counted(limit.value, 'run')} ${how}, seed ${limit.seed ?? 0}, were tried`;
  }
  if (limit.message !== undefined) return 'a further round of a loop was not tried';
  if (limit.name === 'bounded') return `the bound of ${counted(limit.value, 'round')} was reached`;
  return `stopped at ${limit.name}=${limitValue(limit)}`;
}

function limitValue({ name, value }: LimitHit): string {
  if (name === 'time') return `${value / 1000}s`;
  if (name === 'memory') return `${Math.round(value / 2 ** 20)}M`;
  return grouped(value);
}
