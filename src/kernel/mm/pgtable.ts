import { fn, leaf, this_arch } from '../../machine/fn.ts';
import type { LeafPermissions } from '../../machine/arch.ts';
import type { Entry, EntryPointer, Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { xchg_entry } from '../../machine/ops/memory.ts';
import { local_irq_restore, local_irq_save } from '../../machine/ops/processor.ts';
import { indexAt } from '../../machine/walk.ts';
import { rcu_read_lock, rcu_read_unlock } from '../kernel/rcu.ts';
import {
  NONE,
  clear_entry,
  establish_entry,
  is_split,
  load_entry,
  load_entry_lockless,
  set_entry,
  set_entry_atomic,
} from './pgtable-access.ts';
import type { Mm, Pmd, Pmdp, Pte, Ptep, Upperp } from './types.ts';

/**
 * Page-table entries: loads, stores, and arithmetic on values already read.
 *
 * Guarantee: each function here touches one entry once (I5 of the specification: everything later uses the
 * copy). Where an entry is one word, that is one access; by halves it is several, see pgtable-access.ts.
 *
 * Follows linux v6.12 include/linux/pgtable.h, mm/pgtable-generic.c and arch/x86/include/asm/pgtable.h.
 */

/** The entry is empty. */
export function pmd_none(pmd: Pmd): boolean {
  return pmd.none;
}
/** The entry maps a huge page. */
export function pmd_leaf(pmd: Pmd): boolean {
  return pmd.present && !pmd.table;
}
export function pte_none(pte: Pte): boolean {
  return pte.none;
}
export function pte_present(pte: Pte): boolean {
  return pte.present;
}
/** The page a present entry maps. */
export function pte_page(pte: Pte): Page {
  return Object.freeze({ frame: pte.frame, generation: pte.generation });
}
/** Entries are equal if their bits are; what the bits point to may meanwhile be something else (ABA). */
export function same(a: Entry, b: Entry): boolean {
  return a.bits === b.bits;
}
/** pte_access_permitted(): may user code access the page so? */
export function pte_access_permitted(pte: Pte, write: boolean): boolean {
  return pte.present && (!write || pte.writable);
}

/** pte_wrprotect(). */
export function pte_wrprotect(mm: Mm, pte: Pte): Pte {
  const bits = mm.kernel.arch.change(0, pte.bits, { writable: false });
  return { ...mm.kernel.arch.decode(0, bits), bits, generation: pte.generation };
}

/** mk_pte(): an entry that maps the page. */
export function pte_of(mm: Mm, page: Page, permissions: LeafPermissions): Pte {
  const bits = mm.kernel.arch.leaf(0, page.frame, permissions);
  return { ...mm.kernel.arch.decode(0, bits), bits, generation: page.generation };
}

/** pte_mkclean(pte_wrprotect()): a store through the entry faults, and then it is noticed. */
export function pte_mkclean_wrprotect(mm: Mm, pte: Pte): Pte {
  const { arch } = mm.kernel;
  const bits = arch.change(0, pte.bits, { writable: false, dirty: false });
  return { ...arch.decode(0, bits), bits, generation: pte.generation };
}

/** Pointer to the top-level entry for `addr`. Arithmetic: a root lives as long as its mm. */
export function pgd_offset(mm: Mm, addr: number): EntryPointer {
  const level = mm.kernel.arch.levels.length - 1;
  return { frame: mm.pgd, generation: 1, index: indexAt(mm.kernel.arch, level, addr) };
}

/**
 * pXd_offset_lockless(): pointer to the entry for `addr` in the table that `entry`, a local copy of its
 * parent, points to. Never from a second load of the parent (M1.7).
 *
 * Levels are counted from the leaf tables: 0 pte, 1 pmd, 2 pud, 3 p4d. Where the architecture has fewer, the
 * missing ones are folded into the pgd (include/asm-generic/pgtable-nop4d.h, pgtable-nopud.h): the copy of
 * the parent is the entry, and following the pointer reads that copy.
 */
export function offset_lockless(mm: Mm, entry: Entry, level: 0 | 1, addr: number): EntryPointer;
export function offset_lockless(mm: Mm, entry: Entry, level: number, addr: number): Upperp;
export function offset_lockless(mm: Mm, entry: Entry, level: number, addr: number): Upperp {
  const { arch } = mm.kernel;
  if (level >= arch.levels.length - 1) return entry;
  const index = indexAt(arch, level, addr);
  return { frame: entry.frame, generation: entry.generation, index, level };
}

/** An entry of the level below the pgd's, or of the one below that: in a table, or folded into a copy. */
function* load_upper(place: Upperp, level: number): Steps<Entry> {
  return 'bits' in place ? place : yield* load_entry(place, level);
}

/** READ_ONCE of an upper-level entry. */
export const pgdp_get = leaf(function* pgdp_get(pgdp: EntryPointer): Steps<Entry> {
  return yield* load_entry(pgdp, this_arch().levels.length - 1);
});
export const p4dp_get = leaf(function* p4dp_get(p4dp: Upperp): Steps<Entry> {
  return yield* load_upper(p4dp, 3);
});
export const pudp_get = leaf(function* pudp_get(pudp: Upperp): Steps<Entry> {
  return yield* load_upper(pudp, 2);
});
/** READ_ONCE of a PMD entry whose table cannot go away (a lock is held, or it is a re-check). */
export const pmdp_get = leaf(function* pmdp_get(pmdp: Pmdp): Steps<Pmd> {
  return yield* load_entry(pmdp, 1);
});
/** Load of a PMD entry without any lock. */
export const pmdp_get_lockless = leaf(function* pmdp_get_lockless(pmdp: Pmdp): Steps<Pmd> {
  return yield* load_entry_lockless(pmdp, 1);
});
export const ptep_get = leaf(function* ptep_get(ptep: Ptep): Steps<Pte> {
  return yield* load_entry(ptep, 0);
});
/** Load of a PTE without its page-table lock. */
export const ptep_get_lockless = leaf(function* ptep_get_lockless(ptep: Ptep): Steps<Pte> {
  return yield* load_entry_lockless(ptep, 0);
});

/** Maps a page where nothing was present. */
export const set_pte_at = leaf(function* set_pte_at(ptep: Ptep, pte: Pte): Steps<void> {
  yield* set_entry(ptep, pte);
});
/** Stores a PMD entry over whatever is there, at once. */
export const set_pmd = leaf(function* set_pmd(pmdp: Pmdp, pmd: Pmd): Steps<void> {
  yield* set_entry_atomic(pmdp, pmd);
});
/** Removes a PTE that nobody wants to know. */
export const pte_clear = leaf(function* pte_clear(ptep: Ptep): Steps<void> {
  yield* clear_entry(ptep);
});
/** Unlinks the table (or huge page) that the entry points to. */
export const pmd_clear = leaf(function* pmd_clear(pmdp: Pmdp): Steps<void> {
  yield* clear_entry(pmdp);
});
export const pud_clear = leaf(function* pud_clear(pudp: EntryPointer): Steps<void> {
  yield* set_entry_atomic(pudp, NONE);
});

/** Removes a PTE and returns what it was, in one atomic exchange: no accessed or dirty bit is lost. */
export const ptep_get_and_clear = leaf(function* ptep_get_and_clear(ptep: Ptep): Steps<Pte> {
  return yield* xchg_entry(ptep, NONE);
});
/** Replaces a PMD entry and returns what it was. */
export const pmdp_establish = leaf(function* pmdp_establish(pmdp: Pmdp, pmd: Pmd): Steps<Pmd> {
  return yield* establish_entry(pmdp, pmd, 1);
});

/**
 * Around the load of a PMD entry in __pte_offset_map(): what is loaded by halves is a pointer to a table, which
 * must not be torn. With interrupts off, pmdp_get_lockless_sync() waits for the load. Elsewhere nothing.
 */
export const pmdp_get_lockless_start = fn(
  function* pmdp_get_lockless_start(): Steps<number> {
    return is_split() ? yield* local_irq_save() : 0;
  },
  { hidden: true },
);
export const pmdp_get_lockless_end = fn(
  function* pmdp_get_lockless_end(flags: number): Steps<void> {
    if (is_split()) yield* local_irq_restore(flags);
  },
  { hidden: true },
);

/**
 * pte_offset_map(): the PTE pointer for `addr` in the table that `*pmdp` points to, or null if there is
 * none. Opens an RCU read-side section that holds off the freeing of the table; it lasts until
 * `pte_unmap`. What it does not promise: that the table is still linked (see `pte_offset_map_lock`).
 */
export const __pte_offset_map = fn(function* __pte_offset_map(
  mm: Mm,
  pmdp: Pmdp,
  addr: number,
): Steps<{ readonly ptep: Ptep; readonly pmdval: Pmd } | null> {
  yield* rcu_read_lock(); // without it the table can be freed between the load below and its use (M5.5)
  const flags = yield* pmdp_get_lockless_start();
  const pmdval = yield* pmdp_get_lockless(pmdp);
  yield* pmdp_get_lockless_end(flags);
  if (pmd_none(pmdval) || pmd_leaf(pmdval)) {
    yield* rcu_read_unlock();
    return null;
  }
  return { ptep: offset_lockless(mm, pmdval, 0, addr), pmdval };
});

/** Ends what `__pte_offset_map` began. */
export const pte_unmap = fn(function* pte_unmap(): Steps<void> {
  yield* rcu_read_unlock();
});
