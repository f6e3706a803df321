import { leaf } from '../../machine/fn.ts';
import type { Steps } from '../../machine/op.ts';
import { access_load, access_store } from '../../machine/ops/access.ts';
import type { Mm } from './types.ts';

/**
 * What user code does: a load or store of a 64-bit word at a virtual address, in the address space that its CPU
 * runs. Which page it reaches is the hardware's affair: see machine/ops/access.ts.
 */

/** Loads a word; null: a page fault, which nobody handles here. */
export const user_load = leaf(function* user_load(mm: Mm, addr: number): Steps<bigint | null> {
  return (yield* access_load(mm.pgd, addr))?.bits ?? null;
});

/** Stores a word; `false`: a page fault, which nobody handles here. */
export const user_store = leaf(function* user_store(
  mm: Mm,
  addr: number,
  value: bigint,
): Steps<boolean> {
  return yield* access_store(mm.pgd, addr, value);
});
