import { GracewalkError } from '../base/errors.ts';
import type { TableKind } from '../arch/table-kind.ts';
import { counted } from '../report/numbers.ts';
import type { Problem } from '../walk/mappings.ts';
import { levelOf } from '../walk/tables.ts';

/** Of each kind; the rest is counted. */
const MOST_SHOWN = 5;
/** Places that are remembered, so that each counts once though many addresses are translated by it. */
const MOST_PLACES = 10_000;

/** What is wrong with an image, gathered in bounded memory. */
export class Problems {
  private readonly places: Set<string> = new Set();
  private readonly shown: Problem[] = [];
  private readonly counts: Record<Problem['kind'], number> = { missing: 0, refused: 0 };

  /** Whether it is a new one. */
  add(problem: Problem): boolean {
    const place = `${problem.kind} ${problem.tables.name} ${problem.level} ${problem.at}`;
    if (this.places.has(place)) return false;
    if (this.places.size < MOST_PLACES) this.places.add(place);
    if (this.counts[problem.kind]++ < MOST_SHOWN) this.shown.push(problem);
    return true;
  }

  get count(): number {
    return this.counts.missing + this.counts.refused;
  }

  errors(): GracewalkError[] {
    const of = (kind: Problem['kind']): Problem[] => this.shown.filter((it) => it.kind === kind);
    const { missing, refused } = this.counts;
    return [
      ...(missing > 0 ? [missingError(of('missing'), missing)] : []),
      ...(refused > 0 ? [refusedError(of('refused'), refused)] : []),
    ];
  }
}

function missingError(shown: readonly Problem[], count: number): GracewalkError {
  const what = `${counted(count, 'table')} of this walk cannot be read`;
  return new GracewalkError('E813', what, {
    notes: [...shown.map((it) => `${problemText(it)} ${it.why}`), ...more(shown, count)],
    help: 'the image is cut off, or its --base, the root or the architecture is another',
  });
}

function refusedError(shown: readonly Problem[], count: number): GracewalkError {
  const entries = count === 1 ? '1 entry' : `${counted(count, 'entrie')}`;
  const [first] = shown;
  const see =
    first && first.bits !== null ? decodeCommand(first.tables, first.level, first.bits) : '';
  return new GracewalkError('E814', `hardware refuses ${entries} of this walk`, {
    notes: [...shown.map((it) => `${problemText(it)} ${it.why}`), ...more(shown, count)],
    help: `${see} shows the bits; if many are refused, the root or the architecture is another`,
  });
}

function more(shown: readonly Problem[], count: number): string[] {
  return count > shown.length ? [`and ${count - shown.length} more`] : [];
}

function problemText({ tables, level, at, bits, virtual }: Problem): string {
  const { name, title } = levelOf(tables, level);
  const from = `for addresses from 0x${virtual.toString(16)}`;
  if (bits === null) return `${title} at 0x${at.toString(16)}, ${from}:`;
  return `${name} entry 0x${bits.toString(16)} at 0x${at.toString(16)}, ${from}:`;
}

export function decodeCommand(kind: TableKind, level: number, bits: bigint): string {
  const { name } = levelOf(kind, level);
  return `gracewalk decode ${kind.name} 0x${bits.toString(16)} --level ${name}`;
}
