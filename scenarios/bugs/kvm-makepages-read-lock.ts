// Shadow pages are taken back by faults that hold mmu_lock for reading only.  linux arch/x86/kvm/mmu/mmu.c, 2022.
import { fails, fn, patch, returned, safe, scenario, type Machine, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  make_mmu_pages_available,
  new_mm,
  new_page,
  new_shadow_vm,
  on_active_list,
  oldest_mmu_page,
  read_lock,
  read_unlock,
  shadow_mmu_ops,
  write_lock,
  write_unlock,
  type Kvm,
} from 'gracewalk/linux';

interface State {
  readonly kvm: Kvm;
}

/** A fault of the nested guest, for which there are shadow pages; it makes room first. */
const direct_page_fault = fn(function* direct_page_fault({ kvm }: State): Steps<void> {
  yield* write_lock(kvm.mmu_lock);
  yield* make_mmu_pages_available(kvm);
  yield* write_unlock(kvm.mmu_lock);
});

export default scenario<State>('kvm-makepages-read-lock', {
  title: 'KVM takes shadow pages back under mmu_lock for reading',
  citation:
    'linux commit 47b0c2e4c220 (the id is from memory), "KVM: x86/mmu: Fix race condition in direct_page_fault", CVE-2022-45869, 2022',
  story:
    'Faults of a guest with two-dimensional paging came to take mmu_lock for reading, so that several vCPUs could be ' +
    'served at once: the TDP MMU changes its entries by compare and exchange. One function that they called before ' +
    'belongs to the shadow MMU. If shadow pages were short, which there are only for nested guests, it took the oldest ones ' +
    'back: it emptied them, changed reverse maps and lists, and freed, all on the ground that nobody else did. Two ' +
    'vCPUs at once took the same page. The cure calls it only where mmu_lock is held for writing.',

  machine: x86_64({ cpus: 2 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', {}, { tables: [0] });
    const X = new_page(m, 'X', 1);
    const kvm = new_shadow_vm(m, mm, 'kvm', shadow_mmu_ops(), {
      vcpus: ['CPU0', 'CPU1'],
      mapped: { 0: { page: X, dirty: false } },
    });
    on_active_list(kvm, 0);
    return { kvm };
  },

  run: { CPU0: direct_page_fault, CPU1: direct_page_fault },

  sometimes: {
    'a page is taken back': returned(oldest_mmu_page, (sp) => sp !== null),
    'there is none any more': returned(oldest_mmu_page, null),
  },

  variants: {
    buggy: fails(['double-free', 'use-after-free'], {
      shows: ['X18', 'bug:kvm-makepages-read-lock'],
      patches: [
        patch(write_lock, function* (lock) {
          yield* read_lock(lock);
        }),
        patch(write_unlock, function* (lock) {
          yield* read_unlock(lock);
        }),
      ],
    }),
    fixed: safe(),
  },
});
