// Why the gate of the memslots is a counter and no rw_semaphore: two invalidations, one of them made under a lock
// that the other takes between its start and its end, and a replacement of the memslots.
// linux v6.12 virt/kvm/kvm_main.c (kvm_swap_active_memslots); specification of the secondary MMUs, section 2.1.
import { fails, only, patch, returned, safe, scenario, type Machine, type Word } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  change_mn_active,
  down_read,
  down_write,
  invalidating,
  kvm_create_memslot,
  kvm_swap_active_memslots,
  mn_is_active,
  new_host_vm,
  new_mm,
  new_page,
  rcu_assign_memslots,
  up_read,
  up_write,
  type Kvm,
} from 'gracewalk/linux';

const HVA = 0;
const SLOT = { id: 0, base_gfn: 0, npages: 1, userspace_addr: PAGE_SIZE }; // not where they invalidate

interface State {
  readonly kvm: Kvm;
  /** mapping->i_mmap_rwsem of a file that the process maps. */
  readonly i_mmap_rwsem: Word;
  /** mmu_notifier_slots_lock, a fair rw_semaphore: who waits to write holds its queue, and readers pass it. */
  readonly queue: Word;
  readonly rwsem: Word;
}

type Fair = Pick<State, 'queue' | 'rwsem'>;

/** Patches get no state. */
const locks: WeakMap<Kvm, Fair> = new WeakMap();

export default scenario<State>('host-gate-fairness', {
  machine: x86_64({ cpus: 3 }),

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [HVA]: new_page(m, 'P') }, { on: [] });
    const kvm = new_host_vm(m, mm, { vcpus: [], memslots: [[], [SLOT]] });
    const variable = (name: string): Word => m.memory.variable(name);
    const fair = { queue: variable('slots_rwsem.queue'), rwsem: variable('slots_rwsem') };
    locks.set(kvm, fair);
    return { kvm, i_mmap_rwsem: variable('mapping->i_mmap_rwsem'), ...fair };
  },

  run: {
    // As the unmapping of a range does for the tables of a file.
    CPU0: ({ kvm, i_mmap_rwsem }) =>
      invalidating(kvm, HVA, PAGE_SIZE, function* () {
        yield* down_write(i_mmap_rwsem);
        yield* up_write(i_mmap_rwsem);
      }),
    // As reclaim does, which finds the process through the file.
    *CPU1({ kvm, i_mmap_rwsem }) {
      yield* down_write(i_mmap_rwsem);
      yield* invalidating(kvm, HVA, PAGE_SIZE, function* () {});
      yield* up_write(i_mmap_rwsem);
    },
    CPU2: ({ kvm }) => kvm_create_memslot(kvm, 1),
  },

  sometimes: {
    'the replacement has to wait': only(['counter'], returned(mn_is_active, true)),
    'the replacement is made': returned(kvm_create_memslot, () => true),
  },

  variants: {
    counter: safe({ shows: ['K8'] }),
    // K8: the writer waits for CPU0 and keeps CPU1 out, which CPU0 waits for.
    'fair rw_semaphore': fails('deadlock', {
      shows: ['K8'],
      patches: [
        patch(change_mn_active, function* (kvm, change) {
          const { queue, rwsem } = locks.get(kvm) as Fair;
          if (change < 0) return yield* up_read(rwsem);
          yield* down_read(queue);
          yield* down_read(rwsem);
          return yield* up_read(queue);
        }),
        patch(kvm_swap_active_memslots, function* (kvm, memslots) {
          const { queue, rwsem } = locks.get(kvm) as Fair;
          yield* down_write(queue);
          yield* down_write(rwsem);
          yield* rcu_assign_memslots(kvm, memslots);
          yield* up_write(rwsem);
          yield* up_write(queue);
        }),
      ],
    }),
  },
});
