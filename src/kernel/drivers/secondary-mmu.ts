import { GracewalkError } from '../../base/errors.ts';
import type { Actor } from '../../machine/actor.ts';
import type { ArchDescriptor } from '../../machine/arch.ts';
import { leaf } from '../../machine/fn.ts';
import type { Machine } from '../../machine/machine.ts';
import {
  ALLOCATED,
  PAGE_SIZE,
  makeLife,
  type Entry,
  type EntryPointer,
  type Page,
} from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { flush_walker, guest_load, guest_store } from '../../machine/ops/guest.ts';
import { and_entry, read_entry, write_entry, xchg_entry } from '../../machine/ops/memory.ts';
import { STAGE } from '../../machine/stages.ts';
import { indexAt } from '../../machine/walk.ts';
import { NONE } from '../mm/pgtable-access.ts';
import type { Mm } from '../mm/types.ts';

/**
 * A device with translations of its own: one table, whose entries it may have cached at any time, at the
 * addresses of the process that it works for. Its entries hold no reference on the pages they map.
 */
export interface SecondaryMmu {
  readonly name: string;
  readonly mm: Mm;
  readonly walker: number;
  readonly root: Page;
  /** Of its table: see machine/stages.ts. */
  readonly level: number;
}

export interface SecondaryOptions {
  /** Its entries have accessed and dirty marks. */
  readonly marks?: boolean;
  /** What it maps when the scenario begins. */
  readonly mapped?: Readonly<Record<number, Page>>;
}

const NOBODY: Actor = Object.freeze({
  index: 0,
  name: 'setup',
  column: '',
  cpu: -1,
  kind: 'host',
  daemon: true,
  shared: false,
  creator: -1,
});

/** A kind of tables with marks, or without. */
function stageWith({ title, seconds = [] }: ArchDescriptor, marks: boolean): number {
  const at = seconds.findIndex(({ hardware }) => (hardware.accessed !== 'never') === marks);
  if (at >= 0) return at + 1;
  throw new GracewalkError('E130', `no tables for devices on ${title} yet`, {
    help: 'use x86_64, or a device that walks the tables of the process (new_sva_device)',
  });
}

/** A device called `name` that works for `mm`. Before the first step. */
export function new_secondary_mmu(
  machine: Machine,
  mm: Mm,
  name: string,
  { marks = false, mapped = {} }: SecondaryOptions = {},
): SecondaryMmu {
  const { cells, memory, objects, translations } = machine;
  const stage = stageWith(machine.arch, marks);
  const level = stage * STAGE;
  const info = memory.frame(`${name}-table`);
  cells.values[info.life] = makeLife(1, ALLOCATED);
  cells.values[info.level] = level;
  cells.values[info.refcount.cell] = 1;
  const root = memory.page(info.index, 1);
  objects.set('roots', [...((objects.get('roots') as number[] | undefined) ?? []), root.frame]);
  const walker = machine.addWalker(name, stage);
  const device = Object.freeze({ name, mm, walker: walker.index, root, level });
  for (const [address, page] of Object.entries(mapped)) {
    const { frame, index } = spte_at(device, Number(address));
    const word = memory.at(frame * PAGE_SIZE + index * 8, 1);
    const bits = machine.arch.leaf(level, page.frame, { writable: true });
    memory.storeWide(word, memory.entry(bits, page.generation, level));
  }
  translations.loadRoot(NOBODY, walker, root.frame, false);
  return device;
}

/** The place of the entry for `addr`. */
export function spte_at({ mm, root, level }: SecondaryMmu, addr: number): EntryPointer {
  const index = indexAt(mm.kernel.arch, level, addr);
  return Object.freeze({ frame: root.frame, generation: root.generation, index });
}

/** The entry that maps `page`. */
export function mk_spte({ mm, level }: SecondaryMmu, { frame, generation }: Page): Entry {
  const { arch } = mm.kernel;
  const bits = arch.leaf(level, frame, { writable: true });
  return Object.freeze({ bits, generation, ...arch.decode(level, bits) });
}

/** The device may use the page from now on. */
export const set_spte = leaf(function* set_spte(
  device: SecondaryMmu,
  addr: number,
  page: Page,
): Steps<void> {
  yield* write_entry(spte_at(device, addr), mk_spte(device, page));
});

export const get_spte = leaf(function* get_spte(device: SecondaryMmu, addr: number): Steps<Entry> {
  return yield* read_entry(spte_at(device, addr));
});

/** Takes the entry away; what the device has cached is still there. True: it mapped something. */
export const clear_spte = leaf(function* clear_spte(
  device: SecondaryMmu,
  addr: number,
): Steps<boolean> {
  return (yield* xchg_entry(spte_at(device, addr), NONE)).present;
});

/** Takes the accessed mark. True: it was there. */
export const test_and_clear_spte_young = leaf(function* test_and_clear_spte_young(
  device: SecondaryMmu,
  addr: number,
  spte: Entry,
): Steps<boolean> {
  const old = device.mm.kernel.arch.change(device.level, spte.bits, { accessed: false });
  return (yield* and_entry(spte_at(device, addr), ~(spte.bits ^ old))).bits !== old;
});

/** Waits until the device uses nothing any more that it has cached. */
export const flush_secondary_tlb = leaf(
  function* flush_secondary_tlb({ walker, root }: SecondaryMmu): Steps<void> {
    yield* flush_walker(walker, root.frame, null, null, true);
  },
  { protects: { what: 'flush_secondary_tlb()' } },
);

/** The device loads a word; null: it has no translation. */
export const device_load = leaf(function* device_load(
  { walker }: SecondaryMmu,
  addr: number,
): Steps<bigint | null> {
  return (yield* guest_load(walker, addr))?.bits ?? null;
});

/** The device stores a word; `false`: it has no translation. */
export const device_store = leaf(function* device_store(
  { walker }: SecondaryMmu,
  addr: number,
  value: bigint,
): Steps<boolean> {
  return yield* guest_store(walker, addr, value);
});
