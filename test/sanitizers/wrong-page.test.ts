import { describe, expect, test } from 'vitest';
import type { Steps } from '../../src/machine/op.ts';
import type { Page } from '../../src/machine/memory.ts';
import { read_entry, write_entry } from '../../src/machine/ops/memory.ts';
import {
  entry_suspended,
  page_ref_get,
  page_ref_put,
  settle_claim,
} from '../../src/machine/ops/pages.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

/** A lookup of address 0 that takes no locks; `again`: it reads the entry once more before it returns. */
function* lookup(m: Mapped, again: boolean): Steps<Page | null> {
  const entry = yield* read_entry(m.place(0));
  if (!entry.present) return null;
  yield* page_ref_get(m.X, false, { root: m.root, address: 0 });
  if (again && (yield* read_entry(m.place(0))) !== entry) {
    yield* settle_claim(null);
    yield* page_ref_put(m.X);
    return null;
  }
  yield* settle_claim(m.X);
  return m.X;
}

/** Unmaps X and returns its reference. */
function* unmap(m: Mapped): Steps<Page> {
  yield* write_entry(m.place(0), m.none);
  return m.X;
}

test('the page was unmapped before the lookup took its reference', () => {
  const m = mapX({ cpus });
  expect(
    found(
      tasks(
        m.machine,
        () => lookup(m, false),
        () => unmap(m),
      ),
    ),
  ).toEqual([
    'wrong-page: CPU0 returns X, which was not mapped there at any instant after the reference was taken.',
  ]);
});

test('nothing is found if the lookup reads the entry again', () => {
  const m = mapX({ cpus });
  expect(
    found(
      tasks(
        m.machine,
        () => lookup(m, true),
        () => unmap(m),
      ),
    ),
  ).toEqual([]);
});

test('nothing is found if the page is mapped when the reference is taken, and unmapped before the return', () => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    yield* page_ref_get(m.X, false, { root: m.root, address: 0 });
    yield* write_entry(m.place(0), m.none);
    yield* settle_claim(m.X);
    return [m.X, m.X];
  });
  expect(found(program)).toEqual([]);
});

test('nothing is found if the page is mapped again while the lookup lasts', () => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    yield* write_entry(m.place(0), m.none);
    yield* page_ref_get(m.X, false, { root: m.root, address: 0 });
    yield* write_entry(m.place(0), m.linked(0));
    yield* settle_claim(m.X);
    return m.X;
  });
  expect(found(program)).toEqual([]);
});

describe('an entry that is cleared only for a while', () => {
  /** Looks X up and returns it, whatever the entry says by then. */
  function* unchecked(m: Mapped): Steps<Page | null> {
    yield* page_ref_get(m.X, false, { root: m.root, address: 0 });
    return yield* settle_claim(m.X);
  }

  /** Clears the entry, and puts it back or not. */
  function* suspend(m: Mapped, comesBack: boolean): Steps<Page | null> {
    yield* entry_suspended(m.place(0));
    yield* write_entry(m.place(0), m.none);
    if (!comesBack) return m.X;
    yield* write_entry(m.place(0), m.linked(0));
    return null;
  }

  test.each([true, false])('it comes back: %s', (comesBack) => {
    const m = mapX({ cpus });
    const program = tasks(
      m.machine,
      () => unchecked(m),
      () => suspend(m, comesBack),
    );
    expect(found(program)).toEqual(
      comesBack
        ? []
        : [
            'wrong-page: CPU0 returns X, which was not mapped there at any instant after the reference was taken.',
          ],
    );
  });
});
