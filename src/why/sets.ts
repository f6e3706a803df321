/**
 * Which smallest sets have an effect? Sets of one first, then of two, and so on: a set is minimal for an effect
 * if no part of it has that effect.
 *
 * Nothing is concluded from one set about another but this: a set is not minimal for an effect that a part of it
 * has. Effects need not be monotone (without a second protection the protocol may never come to where the
 * missing first one matters), so every set is tried for all effects that its parts do not have.
 */
export interface Attempt {
  /** The effects that the set has. Found is found, whether the attempt came to its end or not. */
  readonly effects: ReadonlySet<string>;
  /** Nothing was left out: what is not among the effects never happens. */
  readonly complete: boolean;
}

export interface MinimalSet {
  readonly items: readonly string[];
  readonly effect: string;
  /** No part of it has the effect; false if that is not known. */
  readonly minimal: boolean;
}

export interface SetSearch {
  readonly found: MinimalSet[];
  /** Sets whose attempt did not come to its end. */
  readonly undecided: (readonly string[])[];
  tried: number;
  /** Sets that were not tried: something ended the search. */
  untried: number;
}

/** All sets of `size` of the items, in their order. */
export function* combinations<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  if (size === 0) yield [];
  for (let at = 0; at + size <= items.length && size > 0; at++) {
    for (const rest of combinations(items.slice(at + 1), size - 1)) {
      yield [items[at] as T, ...rest];
    }
  }
}

export interface SetOptions {
  /** Sets of up to so many items. */
  readonly size: number;
  /** The only effects of interest; null: all. */
  readonly wanted: readonly string[] | null;
  /** Items that go by themselves with this one: a set of both is a set of one. */
  readonly partOf?: (item: string) => readonly string[];
}

/** `attempt` is given a set and the effects that its parts have already; null: no more attempts. */
export function minimalSets(
  items: readonly string[],
  { size, wanted, partOf }: SetOptions,
  attempt: (set: readonly string[], known: ReadonlySet<string>) => Attempt | null,
): SetSearch {
  const search: SetSearch = { found: [], undecided: [], tried: 0, untried: 0 };
  let stopped = false;
  for (let count = 1; count <= Math.min(size, items.length); count++) {
    for (const set of combinations(items, count)) {
      if (set.some((item) => partOf?.(item).some((outer) => set.includes(outer)))) continue;
      const known = new Set(partsOf(search.found, set).map(({ effect }) => effect));
      if (wanted?.every((effect) => known.has(effect))) continue;
      const result = stopped ? null : attempt(set, known);
      if (!result) {
        stopped = true;
        search.untried++;
      } else note(search, set, result, known);
    }
  }
  return search;
}

function note(
  search: SetSearch,
  set: readonly string[],
  { effects, complete }: Attempt,
  known: ReadonlySet<string>,
): void {
  search.tried++;
  const minimal = !search.undecided.some((part) => isPart(part, set));
  for (const effect of effects) {
    if (!known.has(effect)) search.found.push({ items: set, effect, minimal });
  }
  if (!complete) search.undecided.push(set);
}

function partsOf(found: readonly MinimalSet[], set: readonly string[]): MinimalSet[] {
  return found.filter(({ items }) => isPart(items, set));
}

function isPart(part: readonly string[], whole: readonly string[]): boolean {
  return part.every((item) => whole.includes(item));
}
