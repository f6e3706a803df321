/** include/vdso/page.h. */
export const PAGE_SIZE = 4096;

/** The address of an entry, by which flushes and caches know it. */
export function sourceOf(p: { readonly frame: number; readonly index: number }): number {
  return p.frame * PAGE_SIZE + p.index * 8;
}
