import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mostPrecise } from '../../src/why/answers.ts';
import { combinations, minimalSets, type Attempt } from '../../src/why/sets.ts';

const ITEMS = ['a', 'b', 'c', 'd'];

function complete(...effects: string[]): Attempt {
  return { effects: new Set(effects), complete: true };
}

test('sets come small ones first, each once', () => {
  expect([...combinations(['a', 'b', 'c'], 2)]).toEqual([
    ['a', 'b'],
    ['a', 'c'],
    ['b', 'c'],
  ]);
  expect([...combinations(['a', 'b'], 3)]).toEqual([]);
});

describe('minimal sets', () => {
  test('are those of which no part has the effect', () => {
    const search = minimalSets(ITEMS, { size: 2, wanted: null }, (set) =>
      complete(
        ...(set.includes('a') ? ['uaf'] : []),
        ...(set.includes('b') && set.includes('c') ? ['uaf', 'stale'] : []),
      ),
    );
    expect(search.found).toEqual([
      { items: ['a'], effect: 'uaf', minimal: true },
      { items: ['b', 'c'], effect: 'uaf', minimal: true },
      { items: ['b', 'c'], effect: 'stale', minimal: true },
    ]);
    expect(search).toMatchObject({ tried: 10, untried: 0, undecided: [] });
  });

  test('are tried for an effect that only a part has, which need not have been inherited', () => {
    // Without b, a never comes to matter.
    const search = minimalSets(ITEMS, { size: 2, wanted: null }, (set) =>
      set.length === 1 && set[0] === 'a' ? complete('uaf') : complete(),
    );
    expect(search.found).toEqual([{ items: ['a'], effect: 'uaf', minimal: true }]);
    expect(search.tried).toBe(10);
  });

  test('are not looked for where all that is wanted is known of a part', () => {
    const tried: string[] = [];
    minimalSets(ITEMS, { size: 2, wanted: ['uaf'] }, (set) => {
      tried.push(set.join(''));
      return set.includes('a') ? complete('uaf') : complete();
    });
    expect(tried).toEqual(['a', 'b', 'c', 'd', 'bc', 'bd', 'cd']);
  });

  test('are not claimed to be minimal where a part is undecided', () => {
    const search = minimalSets(ITEMS, { size: 2, wanted: null }, (set) => ({
      effects: new Set(set.length === 2 && set.includes('a') ? ['uaf'] : []),
      complete: set.join() !== 'a',
    }));
    expect(search.undecided).toEqual([['a']]);
    expect(search.found.every(({ minimal }) => !minimal)).toBe(true);
  });

  test('are counted, not forgotten, where a limit came first', () => {
    let left = 5;
    const search = minimalSets(ITEMS, { size: 2, wanted: null }, () =>
      left-- > 0 ? complete() : null,
    );
    expect(search).toMatchObject({ tried: 5, untried: 5 });
  });

  test('do not have an item beside what it is a part of', () => {
    const tried: string[] = [];
    const partOf = (item: string): string[] => (item === 'b' ? ['a'] : []);
    minimalSets(['a', 'b', 'c'], { size: 2, wanted: null, partOf }, (set) => {
      tried.push(set.join(''));
      return complete();
    });
    expect(tried).toEqual(['a', 'b', 'c', 'ac', 'bc']);
  });

  test('are those that trying everything finds', () => {
    const effects = fc.array(fc.boolean(), { minLength: 15, maxLength: 15 });
    fc.assert(
      fc.property(effects, (has) => {
        const all = [1, 2, 3, 4].flatMap((size) => [...combinations(ITEMS, size)]);
        const hasEffect = new Map(all.map((set, at) => [set.join(''), has[at] === true]));
        const { found } = minimalSets(ITEMS, { size: 4, wanted: ['x'] }, (set) =>
          complete(...(hasEffect.get(set.join('')) ? ['x'] : [])),
        );
        const parts = (set: readonly string[]): (readonly string[])[] =>
          all.filter(
            (part) => part.length < set.length && part.every((item) => set.includes(item)),
          );
        const expected = all.filter(
          (set) =>
            hasEffect.get(set.join('')) === true &&
            !parts(set).some((part) => hasEffect.get(part.join(''))),
        );
        expect(found.map(({ items }) => items)).toEqual(expected);
      }),
    );
  });
});

test('a set with the whole says nothing beyond one with its part', () => {
  const found = (effect: string, ...items: string[]) => ({ items, effect, minimal: true });
  const partOf = (item: string): string[] => (item === 'wait' ? ['flush'] : []);
  const sets = [
    found('uaf', 'flush', 'grace'),
    found('uaf', 'grace', 'wait'),
    found('stale', 'flush'),
  ];
  expect(mostPrecise(sets, partOf)).toEqual([sets[1], sets[2]]);
});
