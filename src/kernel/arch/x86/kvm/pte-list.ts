import { fn, leaf } from '../../../../machine/fn.ts';
import type { Word } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { READ_ONCE, WRITE_ONCE, read_entry, write_entry } from '../../../../machine/ops/memory.ts';
import { bug_on } from '../../../../machine/ops/secondary.ts';
import type { SlabObject } from '../../../../machine/ops/slab.ts';
import { STAGE } from '../../../../machine/stages.ts';
import {
  kmem_cache_alloc,
  kmem_cache_create,
  kmem_cache_free,
  type KmemCache,
} from '../../../mm/slab.ts';
import type { Kvm, Sptep } from '../../../virt/kvm/types.ts';
import {
  KVM_RMAP_MANY,
  kvm_rmap_lock,
  kvm_rmap_unlock,
  pointer_val,
  rmap_empty,
  target_of,
  type RmapVal,
} from './rmap.ts';

/**
 * The chain behind an rmap word: no entry, one (the word points to it), or several, of which a pte_list_desc
 * keeps the pointers. A desc is freed when its last pointer is gone; the lock of the word keeps readers out
 * meanwhile.
 *
 * Follows linux v6.15 arch/x86/kvm/mmu/mmu.c (pte_list_add, pte_list_remove, pte_list_desc_remove_entry). There a
 * desc has room for 14 pointers and leads to another one; here for two.
 */
type Field = 'spte_count' | 'sptes0' | 'sptes1';
export type PteListDesc = SlabObject<Field>;
export type PteListCache = KmemCache<Field>;

/** pte_list_desc_cache. */
export function new_pte_list_cache(): PteListCache {
  return kmem_cache_create('desc', ['spte_count', 'sptes0', 'sptes1']);
}

const PTE_LIST_EXT = 2;

function sptes(desc: PteListDesc, at: number): Word {
  return at === 0 ? desc.sptes0 : desc.sptes1;
}

/** desc->sptes[at]: one load. */
const desc_spte = leaf(function* desc_spte(desc: PteListDesc, at: number): Steps<RmapVal> {
  return yield* read_entry(sptes(desc, at));
});

const set_desc_spte = leaf(function* set_desc_spte(
  desc: PteListDesc,
  at: number,
  spte: RmapVal,
): Steps<void> {
  yield* write_entry(sptes(desc, at), spte);
});

const is_many = ({ bits }: RmapVal): boolean => (bits & KVM_RMAP_MANY) !== 0n;

/** The desc that a word with KVM_RMAP_MANY points to. */
function desc_of(cache: PteListCache, val: RmapVal): PteListDesc {
  const { frame, generation } = target_of(val);
  return cache.handles.get(`${frame}/${generation}`) as unknown as PteListDesc;
}

/** The entry that a value points to. */
export function sptep_of(kvm: Kvm, val: RmapVal): Sptep {
  const target = target_of(val);
  const level = target.frame === kvm.root.frame ? kvm.root_level : 0;
  return Object.freeze({ ...target, level: kvm.stage * STAGE + level });
}

/** An rmap word and the cache of the descs that it may lead to. */
export interface RmapHead {
  readonly val: Word;
  readonly cache: PteListCache;
}

/** Adds an entry to the chain; mmu_lock is held for writing. */
export const pte_list_add = fn(function* pte_list_add(
  kvm: Kvm,
  rmap_head: RmapHead,
  sptep: Sptep,
): Steps<void> {
  const spte = pointer_val(kvm, sptep, 0n);
  const old = yield* kvm_rmap_lock(kvm, rmap_head.val);
  if (old.bits === 0n) yield* kvm_rmap_unlock(rmap_head.val, spte);
  else if (is_many(old)) {
    const desc = desc_of(rmap_head.cache, old);
    const count = yield* READ_ONCE(desc.spte_count);
    if (count === PTE_LIST_EXT) throw new RangeError('a pte_list_desc has room for two entries');
    yield* set_desc_spte(desc, count, spte);
    yield* WRITE_ONCE(desc.spte_count, count + 1);
    yield* kvm_rmap_unlock(rmap_head.val, old);
  } else {
    const desc = yield* kmem_cache_alloc(rmap_head.cache); // from the vCPU's own reserve
    yield* set_desc_spte(desc, 0, old);
    yield* set_desc_spte(desc, 1, spte);
    yield* WRITE_ONCE(desc.spte_count, PTE_LIST_EXT);
    const to = { frame: desc.frame, generation: desc.generation, index: 0 };
    yield* kvm_rmap_unlock(rmap_head.val, pointer_val(kvm, to, KVM_RMAP_MANY));
  }
});

/** Moves the last pointer of the desc into the place of the one that goes. Returns what the word must say. */
const pte_list_desc_remove_entry = fn(function* pte_list_desc_remove_entry(
  kvm: Kvm,
  { cache }: RmapHead,
  val: RmapVal,
  at: number,
): Steps<RmapVal> {
  const desc = desc_of(cache, val);
  const last = (yield* READ_ONCE(desc.spte_count)) - 1;
  const moved = yield* desc_spte(desc, last);
  if (at !== last) yield* set_desc_spte(desc, at, moved);
  yield* WRITE_ONCE(desc.spte_count, last);
  if (last > 0) return val;
  yield* kmem_cache_free(cache, desc);
  return rmap_empty(kvm);
});

/** Takes an entry, cleared already, off the chain; mmu_lock is held for writing. */
export const pte_list_remove = fn(function* pte_list_remove(
  kvm: Kvm,
  rmap_head: RmapHead,
  sptep: Sptep,
): Steps<void> {
  const spte = pointer_val(kvm, sptep, 0n);
  const val = yield* kvm_rmap_lock(kvm, rmap_head.val);
  const { name } = rmap_head.val;
  yield* bug_on(val.bits === 0n, name, `pte_list_remove() finds nothing in ${name}.`);
  if (!is_many(val)) {
    yield* kvm_rmap_unlock(rmap_head.val, rmap_empty(kvm));
    return;
  }
  const desc = desc_of(rmap_head.cache, val);
  const first = yield* desc_spte(desc, 0);
  const at = first.bits === spte.bits ? 0 : 1;
  yield* kvm_rmap_unlock(rmap_head.val, yield* pte_list_desc_remove_entry(kvm, rmap_head, val, at));
});

/** The entries of a chain that the caller has locked, one after the other: for_each_rmap_spte_lockless(). */
export function* rmap_sptes(kvm: Kvm, { cache }: RmapHead, val: RmapVal): Steps<readonly Sptep[]> {
  if (val.bits === 0n) return [];
  if (!is_many(val)) return [sptep_of(kvm, val)];
  const desc = desc_of(cache, val);
  const found: Sptep[] = [];
  const count = yield* READ_ONCE(desc.spte_count);
  for (let at = 0; at < count; at++) {
    found.push(sptep_of(kvm, yield* desc_spte(desc, at)));
  }
  return found;
}
