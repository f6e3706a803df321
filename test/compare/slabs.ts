import type { Machine } from '../../src/machine/machine.ts';
import type { Steps } from '../../src/machine/op.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import type { SlabObject } from '../../src/machine/ops/slab.ts';
import {
  kmem_cache_alloc,
  kmem_cache_create,
  kmem_cache_free,
  new_object,
  type KmemCache,
} from '../../src/kernel/mm/slab.ts';
import type { SlabStmt, Value } from './spec.ts';

/** Slab objects in generated programs. */
export interface Slab {
  readonly cache: KmemCache<'a'>;
  readonly A: SlabObject<'a'>;
  readonly B: SlabObject<'a'>;
}

export function slabs(machine: Machine, typesafe: boolean): Slab {
  const cache = kmem_cache_create('obj', ['a'], { SLAB_TYPESAFE_BY_RCU: typesafe });
  const object = (name: string) => new_object(machine, cache, name, { a: 1 });
  return { cache, A: object('A'), B: object('B') };
}

export function* slabStep(
  stmt: SlabStmt,
  local: { number: number; object: SlabObject<'a'> | null },
  { cache, A, B }: Slab,
  valueOf: (value: Value) => number,
): Steps<void> {
  if (stmt.op === 'slab-alloc') {
    local.object = yield* kmem_cache_alloc(cache);
    return;
  }
  const object = { A, B, own: local.object }[stmt.object];
  if (!object) return;
  if (stmt.op === 'slab-free') yield* kmem_cache_free(cache, object);
  else if (stmt.op === 'slab-read') local.number = yield* READ_ONCE(object.a);
  else yield* WRITE_ONCE(object.a, valueOf(stmt.value));
}
