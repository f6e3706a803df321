import { fn } from '../../../machine/fn.ts';
import type { Steps } from '../../../machine/op.ts';
import { read_entry, write_entry, xchg_entry } from '../../../machine/ops/memory.ts';
import { STAGE } from '../../../machine/stages.ts';
import { sptep_at } from './boot.ts';
import { direct_page_fault } from './fault.ts';
import type { FaultinPage, Kvm, KvmMmuOps, PageFault, RetPf, Sptep, Vcpu } from './types.ts';

/**
 * The least MMU that KVM's host side can be shown with: a tree of two levels whose tables are all there, with one
 * leaf table, read and written with mmu_lock held exclusively.
 */

function leaf_sptep(kvm: Kvm, gfn: number): Sptep {
  const frame = kvm.machine.memory.frameByName.get('sp') ?? -1;
  return sptep_at(kvm, { frame, generation: 1 }, 0, gfn);
}

/** Makes the entry. */
export const leaf_map = fn(function* leaf_map(
  { kvm }: Vcpu,
  { gfn, page, map_writable }: FaultinPage,
): Steps<RetPf> {
  const { arch, memory } = kvm.machine;
  const sptep = leaf_sptep(kvm, gfn);
  const bits = arch.leaf(kvm.stage * STAGE, page.frame, { writable: map_writable });
  if ((yield* read_entry(sptep)).bits === bits) return 'RET_PF_SPURIOUS';
  yield* write_entry(sptep, memory.entry(bits, page.generation, kvm.stage * STAGE));
  return 'RET_PF_FIXED';
});

/** Removes entries. */
export const leaf_zap = fn(function* leaf_zap(
  kvm: Kvm,
  start: number,
  end: number,
): Steps<boolean> {
  const none = kvm.machine.memory.entry(0n, 0, kvm.stage * STAGE);
  let flush = false;
  for (let gfn = start; gfn < end; gfn++) {
    const sptep = leaf_sptep(kvm, gfn);
    if (!(yield* read_entry(sptep)).present) continue;
    yield* xchg_entry(sptep, none); // hardware may be setting bits
    flush = true;
  }
  return flush;
});

export const leaf_mmu: KvmMmuOps = {
  *page_fault(vcpu: Vcpu, fault: PageFault) {
    return yield* direct_page_fault(vcpu, fault, leaf_map);
  },
  *unmap_gfn_range(kvm, start, end) {
    return yield* leaf_zap(kvm, start, end);
  },
  *age_gfn() {
    return false;
  },
};
