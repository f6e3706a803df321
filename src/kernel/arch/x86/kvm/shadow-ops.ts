import type { KvmMmuOps, PageFault, RetPf, Vcpu } from '../../../virt/kvm/types.ts';
import type { Steps } from '../../../../machine/op.ts';
import { fast_page_fault } from './fast_page_fault.ts';
import { kvm_unmap_gfn_range } from './mmu-zap.ts';
import { kvm_rmap_age_gfn_range } from './rmap-age.ts';

/** What is done about a fault that cannot be mended without mmu_lock. */
export type SlowFault = (vcpu: Vcpu, fault: PageFault) => Steps<RetPf>;

/** Nothing: the access is not made. */
export function* not_mapped(): Steps<RetPf> {
  return 'RET_PF_EMULATE';
}

/** The shadow MMU as virt/kvm calls it. */
export function shadow_mmu_ops(slow: SlowFault = not_mapped): KvmMmuOps {
  return Object.freeze({
    *page_fault(vcpu: Vcpu, fault: PageFault): Steps<RetPf> {
      const ret = yield* fast_page_fault(vcpu, fault);
      return ret === 'RET_PF_INVALID' ? yield* slow(vcpu, fault) : ret;
    },
    unmap_gfn_range: kvm_unmap_gfn_range,
    age_gfn: (kvm, start, end, clear) => kvm_rmap_age_gfn_range(kvm, start, end, !clear),
  } satisfies KvmMmuOps);
}
