import { fn, leaf } from '../../machine/fn.ts';
import { holds } from '../../machine/protection.ts';
import type { Machine } from '../../machine/machine.ts';
import type { Page, Word } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { spin_lock, spin_unlock } from '../../machine/ops/locks.ts';
import { swap_word, write_entry, write_word } from '../../machine/ops/memory.ts';
import { follow_pointer } from '../../machine/ops/follow.ts';
import { NO_ENTRY, pointer_to } from './page-ref.ts';
import type { Kernel } from './types.ts';

/**
 * Files as far as the page tables care: an address_space, the page that its page cache holds, and what
 * `folio->mapping` says.
 *
 * Guarantee: a page whose `mapping` points to a file is in that file's page cache, which holds one reference.
 * Both change together under the lock of the cache; readers without it read `mapping` once.
 *
 * Follows linux v6.12 mm/filemap.c, include/linux/page-flags.h (folio_test_anon), mm/shmem.c.
 */

/** The bit of `folio->mapping` that says that the page is anonymous. */
export const PAGE_MAPPING_ANON = 1;

/** struct address_space of a file with one page. */
export interface AddressSpace {
  readonly name: string;
  /** What `folio->mapping` says of its pages. */
  readonly mapping: number;
  /** Its a_ops are shmem's: pages are not written back, so they may be pinned for long. */
  readonly shmem: boolean;
  /** The lock of the list of VMAs that map it. */
  readonly i_mmap_rwsem: Word;
  /** The lock of the page cache (the spinlock of the XArray). */
  readonly xa_lock: Word;
  /** The page that it caches, or NULL. */
  readonly slot: Word;
}

function filesOf(machine: Machine): AddressSpace[] {
  let known = machine.objects.get('files') as AddressSpace[] | undefined;
  if (!known) machine.objects.set('files', (known = []));
  return known;
}

/** The file that a value of `folio->mapping` points to. */
export function file_of(machine: Machine, mapping: number): AddressSpace | undefined {
  return filesOf(machine).find((file) => file.mapping === mapping);
}

/** A file. Its page is made by `new_page_of_file()`. */
export function new_file(
  machine: Machine,
  name: string,
  { shmem }: { readonly shmem: boolean },
): AddressSpace {
  const { memory } = machine;
  const file: AddressSpace = Object.freeze({
    name,
    mapping: (filesOf(machine).length + 1) * 8, // a pointer: aligned
    shmem,
    i_mmap_rwsem: memory.variable(`${name}->i_mmap_rwsem`),
    xa_lock: memory.variable(`${name}->i_pages.xa_lock`),
    slot: memory.pointer(`${name}->i_pages[0]`),
  });
  filesOf(machine).push(file);
  hold_pages(machine, file.slot);
  return file;
}

/** Words of the kernel that hold a reference on the page (or own the table) that they point to. */
export function hold_pages(machine: Machine, word: Word): void {
  const words = (machine.objects.get('holders') as readonly Word[] | undefined) ?? [];
  machine.objects.set('holders', [...words, word]);
}

/** Is the file one of shmem? Follows `mapping`, whose a_ops never change while it exists. */
export const shmem_mapping = leaf(function* shmem_mapping(
  kernel: Kernel,
  mapping: number,
): Steps<boolean> {
  yield* follow_pointer('mapping->a_ops', mapping);
  return kernel.file(mapping)?.shmem ?? false;
});

const xas_store = leaf(function* xas_store(file: AddressSpace, page: Page | null): Steps<void> {
  yield* write_entry(file.slot, page ? pointer_to(page) : NO_ENTRY);
});

const set_mapping = leaf(function* set_mapping(
  kernel: Kernel,
  page: Page,
  mapping: number,
): Steps<void> {
  yield* write_word(kernel.folio(page).mapping, mapping);
});

/** filemap_add_folio(), of a page whose reference becomes the cache's. */
export const filemap_add_folio = fn(function* filemap_add_folio(
  kernel: Kernel,
  file: AddressSpace,
  page: Page,
): Steps<void> {
  yield* spin_lock(file.xa_lock);
  yield* set_mapping(kernel, page, file.mapping);
  yield* xas_store(file, page);
  yield* spin_unlock(file.xa_lock);
});

/** __filemap_remove_folio(), with the cache locked. The cache's reference is the caller's then. */
export const __filemap_remove_folio = fn(function* __filemap_remove_folio(
  kernel: Kernel,
  file: AddressSpace,
  page: Page,
): Steps<void> {
  yield* xas_store(file, null);
  yield* set_mapping(kernel, page, 0); // later, lockless readers find a page without a file
});

/** Puts another page into the place of one, with the cache locked; references go with the place. */
export const filemap_replace_folio = fn(function* filemap_replace_folio(
  kernel: Kernel,
  file: AddressSpace,
  old: Page,
  page: Page,
): Steps<void> {
  yield* set_mapping(kernel, page, file.mapping);
  yield* xas_store(file, page);
  yield* set_mapping(kernel, old, 0);
});

/** folio_trylock(): PG_locked, which says who may change what the folio is. */
export const folio_trylock = leaf(
  function* folio_trylock(kernel: Kernel, page: Page): Steps<boolean> {
    return (yield* swap_word(kernel.folio(page).PG_locked, 1)) === 0;
  },
  { protects: { what: 'the folio lock', everywhere: true, without: holds } },
);

export const folio_unlock = leaf(function* folio_unlock(kernel: Kernel, page: Page): Steps<void> {
  yield* write_word(kernel.folio(page).PG_locked, 0);
});
