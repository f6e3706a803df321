// An RCU callback frees a page table after a grace period.  May it use the address space that the table was
// of?  linux v6.6 arch/s390/mm/pgalloc.c: page tables that are freed by RCU leave the list of their mm before,
// under its lock; linux-mm, June 2023, "[PATCH v2 07/12] s390: add pte_free_defer() for pgtables sharing
// page"; specification 5.4 and 5.6, M5.10.
import { entered, fails, fn, safe, scenario, type Steps } from 'gracewalk';
import { s390 } from 'gracewalk/arch';
import {
  READ_ONCE,
  WRITE_ONCE,
  __tlb_remove_table,
  call_rcu,
  fetch_add,
  kmem_cache_create,
  kmem_cache_free,
  new_object,
  new_page,
  spin_lock,
  spin_unlock,
  type KmemCache,
  type Page,
  type SlabObject,
} from 'gracewalk/linux';

type Field = 'mm_count' | 'context_lock' | 'pgtable_list';
type MmStruct = SlabObject<Field>;

interface State {
  readonly cache: KmemCache<Field>;
  readonly mm: MmStruct;
  readonly table: Page;
}

const mmdrop = fn(function* mmdrop(cache: KmemCache<Field>, mm: MmStruct): Steps<void> {
  if ((yield* fetch_add(mm.mm_count, -1)) === 1) yield* kmem_cache_free(cache, mm);
});

/** Takes a table out of the list of those of its address space that are half free. */
const list_del = fn(function* list_del(mm: MmStruct): Steps<void> {
  yield* spin_lock(mm.context_lock);
  const tables = yield* READ_ONCE(mm.pgtable_list);
  yield* WRITE_ONCE(mm.pgtable_list, tables - 1);
  yield* spin_unlock(mm.context_lock);
});

/** The callback has nothing but the table. */
const page_table_free = fn(function* page_table_free({ cache, mm, table }: State): Steps<void> {
  yield* list_del(mm);
  yield* call_rcu(__tlb_remove_table, [table]);
  yield* mmdrop(cache, mm); // the last reference: the process has exited
});

const pte_free_now = fn(function* pte_free_now(mm: MmStruct, table: Page): Steps<void> {
  yield* list_del(mm);
  yield* __tlb_remove_table(table);
});

/** M5.10: the list is left to the callback. */
const page_table_free_late = fn(function* page_table_free({
  cache,
  mm,
  table,
}: State): Steps<void> {
  yield* call_rcu(pte_free_now, [mm, table]);
  yield* mmdrop(cache, mm);
});

const pte_free_and_drop = fn(function* pte_free_and_drop(
  cache: KmemCache<Field>,
  mm: MmStruct,
  table: Page,
): Steps<void> {
  yield* pte_free_now(mm, table);
  yield* mmdrop(cache, mm);
});

/** The same, with a reference that the callback gives back. */
const page_table_free_counted = fn(function* page_table_free({
  cache,
  mm,
  table,
}: State): Steps<void> {
  yield* fetch_add(mm.mm_count, 1); // mmgrab()
  yield* call_rcu(pte_free_and_drop, [cache, mm, table]);
  yield* mmdrop(cache, mm);
});

export default scenario<State>('rcu-callback-uses-mm', {
  machine: s390({ cpus: 1 }),

  setup(m) {
    const cache = kmem_cache_create('mm_struct', ['mm_count', 'context_lock', 'pgtable_list']);
    const mm = new_object(m, cache, 'mm', { mm_count: 1, pgtable_list: 1 });
    return { cache, mm, table: new_page(m, 'table', 1) };
  },

  run: { CPU0: page_table_free },

  sometimes: {
    'the table is freed': entered(null, __tlb_remove_table),
  },

  variants: {
    'before the grace period': safe(),
    'in the callback, counted': safe({ run: { CPU0: page_table_free_counted } }),
    'in the callback': fails('use-after-free', {
      run: { CPU0: page_table_free_late },
      shows: ['M5.10'],
    }),
  },
});
