import { expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import { SPTE_MASKS, type SpteMasks } from '../../src/arch/kvm-spte-masks.ts';

/** What diagrams say of KVM's entries besides where they lead. */

const kinds = x86_64({ cpus: 1 }).arch.seconds ?? [];
const FRAME = 5;

/** A leaf that hardware may only read, with these bits of KVM's. */
function notes(tables: string, marks: readonly (keyof SpteMasks)[], level = 0) {
  const kind = kinds.find(({ name }) => name === tables)!;
  const masks = SPTE_MASKS[tables]!;
  const { accessed, dirty, present, ad_disabled } = masks;
  const leaf = kind.leaf(level, FRAME, { writable: false }) & ~(accessed | dirty);
  const bits = marks.reduce((all, mark) => all | masks[mark], leaf | present | ad_disabled);
  return kind.notes!(level, bits);
}

test.each(['ept', 'npt', 'shadow'])('%s: the strongest permission, and the marks', (tables) => {
  const all = ['writable', 'mmu_writable', 'host_writable', 'accessed', 'dirty'] as const;
  expect(notes(tables, all)).toEqual({ frame: FRAME, marks: 'W A D' });
  expect(notes(tables, all.slice(1))?.marks).toBe('MMU_W A D');
  expect(notes(tables, all.slice(2, 4))?.marks).toBe('HOST_W A');
  expect(notes(tables, ['dirty'])?.marks).toBe('D');
  expect(notes(tables, [])?.marks).toBe('');
  expect(notes(tables, all, 1)).toEqual({ frame: FRAME, marks: 'W A D' });
});

test('a permission without the weaker ones that belong to it', () => {
  expect(notes('ept', ['writable', 'host_writable'])?.marks).toBe('W !MMU_W');
  expect(notes('ept', ['writable'])?.marks).toBe('W !MMU_W !HOST_W');
  expect(notes('ept', ['mmu_writable'])?.marks).toBe('MMU_W !HOST_W');
});

test('of an entry whose access is tracked, the page that it maps for KVM alone', () => {
  const kind = kinds.find(({ name }) => name === 'ept_no_ad')!;
  const { present, ad_disabled, acc_track, mmu_writable, host_writable } = SPTE_MASKS.ept_no_ad!;
  const leaf = kind.leaf(0, FRAME, { writable: false }) | present | ad_disabled;
  const writable = leaf | mmu_writable | host_writable;
  expect(kind.notes!(0, writable)).toEqual({ frame: FRAME, marks: 'MMU_W' });
  const tracked = kind.notes!(0, writable & ~acc_track);
  expect(tracked).toEqual({ frame: FRAME, marks: 'MMU_W acc-track' });
});

test('nothing of an entry that KVM has not made, or that leads to a table', () => {
  for (const kind of kinds) {
    expect(kind.notes!(0, kind.none(0))).toBeNull();
    expect(kind.notes!(0, kind.leaf(0, FRAME, { writable: true }))).toBeNull();
    const link = kind.table(1, FRAME) | SPTE_MASKS[kind.name]!.present;
    expect(kind.notes!(1, link)).toEqual({ frame: FRAME, marks: '' });
  }
});
