import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ActorSet, emptyAt } from '../../src/explore/actor-set.ts';
import { MAX_ACTORS } from '../../src/machine/machine.ts';

const actor = fc.nat(MAX_ACTORS - 1);
const SEED = 20_261_121;

function setOf(actors: Iterable<number>): ActorSet {
  const set = new ActorSet();
  for (const who of actors) set.add(who);
  return set;
}

function members(set: ActorSet): number[] {
  const list: number[] = [];
  for (let at = set.next(0); at >= 0; at = set.next(at + 1)) list.push(at);
  return list;
}

const ascending = (actors: Iterable<number>): number[] => [...actors].sort((a, b) => a - b);

test('holds what was added and not taken away, up to the last actor there may be', () => {
  const change = fc.record({ who: actor, added: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 100 }), (changes) => {
      const set = new ActorSet();
      const model = new Set<number>();
      for (const { who, added } of changes) {
        if (added) set.add(who);
        else set.delete(who);
        if (added) model.add(who);
        else model.delete(who);
        expect(set.has(who)).toBe(added);
      }
      expect(members(set)).toEqual(ascending(model));
      expect(set.size()).toBe(model.size);
      expect(set.isEmpty()).toBe(model.size === 0);
    }),
    { seed: SEED },
  );
});

test('every actor is one of its own', () => {
  for (let who = 0; who < MAX_ACTORS; who++) {
    const set = setOf([who]);
    expect(members(set)).toEqual([who]);
    const others = Array.from({ length: MAX_ACTORS }, (_, at) => at).filter((at) => at !== who);
    expect(others.filter((at) => set.has(at))).toEqual([]);
    set.delete(who);
    expect(set.isEmpty()).toBe(true);
  }
});

test('a union has the members of both and leaves them as they are', () => {
  fc.assert(
    fc.property(fc.uniqueArray(actor), fc.uniqueArray(actor), actor, (one, other, old) => {
      const [first, second, union] = [setOf(one), setOf(other), setOf([old])];
      union.unite(first, second);
      expect(members(union)).toEqual(ascending(new Set([...one, ...other])));
      expect(members(first)).toEqual(ascending(one));
      expect(members(second)).toEqual(ascending(other));
    }),
    { seed: SEED },
  );
});

test('a set that is used again begins empty', () => {
  const sets: ActorSet[] = [];
  const first = emptyAt(sets, 0);
  first.add(3);
  first.add(MAX_ACTORS - 1);
  expect(emptyAt(sets, 0)).toBe(first);
  expect(members(first)).toEqual([]);
});
