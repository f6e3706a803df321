import { expect, test } from 'vitest';
import type { Entry, Page } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import { write_entry } from '../../src/machine/ops/memory.ts';
import {
  allocate_frame,
  contents_discarded,
  page_ref_get,
  page_ref_put,
  settle_claim,
} from '../../src/machine/ops/pages.ts';
import { memcpy_from_page, memcpy_to_page } from '../../src/kernel/mm/page-ref.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

const cpus = ['CPU0', 'CPU1'];

/** Looks X up, writes to it, and drops it. */
function* writer(m: Mapped): Steps<void> {
  if (!(yield* page_ref_get(m.X, true, { root: m.root, address: 0 }))) return;
  yield* settle_claim(m.X);
  yield* memcpy_to_page(m.X, 0, 7n);
  yield* page_ref_put(m.X);
}

/** An entry that maps another page where X was. */
function mapping(m: Mapped, page: Page): Entry {
  const { arch, memory } = m.machine;
  return memory.entry(arch.leaf(0, page.frame, { writable: true }), page.generation, 0);
}

/** Puts another page in the place of X, with X's contents if `copies`. X's reference is returned. */
function* replace(m: Mapped, copies: boolean): Steps<Page> {
  const other = yield* allocate_frame({ what: 'Y', level: -1, recycle: false });
  if (copies) yield* memcpy_to_page(other, 0, yield* memcpy_from_page(m.X, 0));
  yield* write_entry(m.place(0), mapping(m, other));
  return m.X;
}

test('the page is replaced while somebody writes to it', () => {
  const m = mapX({ cpus });
  const program = tasks(
    m.machine,
    () => writer(m),
    () => replace(m, true),
  );
  expect(found(program)).toContain('lost-write: What was written to X is lost: 0x0 shows Y@CPU1.');
});

test.each([true, false])('replaced after the write, copied: %s', (copies) => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    yield* writer(m);
    return yield* replace(m, copies);
  });
  expect(found(program)).toEqual(
    copies ? [] : ['lost-write: What was written to X is lost: 0x0 shows Y@CPU0.'],
  );
});

test('nothing is found of a page that is simply unmapped', () => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    yield* writer(m);
    yield* write_entry(m.place(0), m.none);
    return m.X;
  });
  expect(found(program)).toEqual([]);
});

test.each(['before', 'after'])('what was written is thrown away %s the write', (when) => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    if (when === 'before') yield* contents_discarded(m.X);
    yield* writer(m);
    if (when === 'after') yield* contents_discarded(m.X);
  });
  expect(found(program)).toEqual([
    when === 'before'
      ? 'lost-write: CPU0 writes to X, whose contents are gone.'
      : 'lost-write: CPU0 throws away what was written to X.',
  ]);
});

test('nothing is found if nobody wrote to what is thrown away', () => {
  const m = mapX({ cpus });
  const program = tasks(m.machine, function* () {
    yield* memcpy_to_page(m.X, 0, 7n); // its owner, through the address
    yield* contents_discarded(m.X);
  });
  expect(found(program)).toEqual([]);
});

const ANON = 1;

test.each([true, false])('a pinned anonymous page, exclusive: %s', (exclusive) => {
  const m = mapX({ cpus });
  const { fields, refcount } = m.machine.memory.info(m.X.frame);
  const { cells } = m.machine;
  cells.values[fields.mapping.cell] = ANON;
  cells.values[fields.PG_anon_exclusive.cell] = exclusive ? 1 : 0;
  cells.values[refcount.cell] = 1024; // the mapping, and all but one of the references that a pin is
  const program = tasks(m.machine, function* () {
    yield* page_ref_get(m.X, true, { root: m.root, address: 0, pin: true });
    return yield* settle_claim(m.X);
  });
  expect(found(program)).toEqual(
    exclusive ? [] : ['lost-write: X is pinned by CPU0 and shared nevertheless.'],
  );
});
