import { VIOLATION_KINDS } from '../machine/violation.ts';
import type { MinimalSet } from './sets.ts';
import { OF_TABLE } from './trial.ts';

/**
 * Leaves out sets that only say less precisely what another one says: who takes away a flush takes away the wait
 * for its interrupts too, so a set with the flush says nothing beyond the one with the wait.
 */
export function mostPrecise(
  sets: readonly MinimalSet[],
  partOf: (item: string) => readonly string[],
): MinimalSet[] {
  const covers = (wide: MinimalSet, narrow: MinimalSet): boolean =>
    wide !== narrow &&
    wide.effect === narrow.effect &&
    narrow.items.every(
      (item) =>
        wide.items.includes(item) || partOf(item).some((outer) => wide.items.includes(outer)),
    );
  return sets.filter((set) => !sets.some((other) => covers(set, other)));
}

/** Page tables first, then as in the list of kinds; small sets before large ones. */
export function inOrder(sets: readonly MinimalSet[]): MinimalSet[] {
  const rank = ({ effect }: MinimalSet): number =>
    effect === OF_TABLE ? -1 : (VIOLATION_KINDS as readonly string[]).indexOf(effect);
  const key = ({ items }: MinimalSet): string => items.join('\n');
  return [...sets].sort(
    (a, b) => rank(a) - rank(b) || a.items.length - b.items.length || (key(a) < key(b) ? -1 : 1),
  );
}
