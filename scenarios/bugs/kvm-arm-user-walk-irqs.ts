// A walk of the host's page tables without the section that protects it.  KVM on arm64, 2023.
import { fails, fn, nop, patch, returned, safe, scenario, touched, type Steps } from 'gracewalk';
import { arm64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  local_irq_restore,
  local_irq_save,
  munmap,
  new_mm,
  new_page,
  offset_lockless,
  p4dp_get,
  pgd_offset,
  pgdp_get,
  pmdp_get_lockless,
  pte_table,
  ptep_get_lockless,
  pudp_get,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

interface State {
  readonly mm: Mm;
  readonly pteA: Page;
}

/** How large is the mapping of the user address? 0: there is none. */
const kvm_pgtable_get_leaf = fn(function* kvm_pgtable_get_leaf(
  mm: Mm,
  addr: number,
): Steps<number> {
  const pgd = yield* pgdp_get(pgd_offset(mm, addr));
  if (!pgd.table) return 0;
  const p4d = yield* p4dp_get(offset_lockless(mm, pgd, 3, addr));
  if (!p4d.table) return 0;
  const pud = yield* pudp_get(offset_lockless(mm, p4d, 2, addr));
  if (!pud.table) return 0;
  const pmd = yield* pmdp_get_lockless(offset_lockless(mm, pud, 1, addr));
  if (!pmd.table) return 0;
  const pte = yield* ptep_get_lockless(offset_lockless(mm, pmd, 0, addr));
  return pte.present ? PAGE_SIZE : 0;
});

const get_user_mapping_size = fn(function* get_user_mapping_size(mm: Mm): Steps<number> {
  const flags = yield* local_irq_save(); // holds off whoever frees tables
  const size = yield* kvm_pgtable_get_leaf(mm, ADDR);
  yield* local_irq_restore(flags);
  return size;
});

export default scenario<State>('kvm-arm-user-walk-irqs', {
  title: 'KVM on arm64: a stage-2 fault walks user page tables with interrupts on',
  citation:
    'linux commit e86fc1a3a3e9 (the id is from memory), "KVM: arm64: Disable interrupts while walking userspace PTs", 2023',
  story:
    'To map a large block into the guest, the fault handler looks how large the mapping in the host is, and for that ' +
    'walks the page tables of the process without a lock. Such a walk is safe only with interrupts off, because that ' +
    'is what the freeing of tables waits for. They were on. The cure turns them off.',

  machine: arm64({ cpus: 2 }),
  foreign: 1,

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X'), [NEIGHBOUR]: new_page(m, 'Y') });
    return { mm, pteA: pte_table(m, mm, ADDR) };
  },

  run: {
    CPU0: ({ mm }) => get_user_mapping_size(mm),
    CPU1: ({ mm }) => munmap(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the walker reads an unlinked table': touched('CPU0', ({ pteA }) => pteA, 'unlinked'),
    'the walk finds the mapping': returned(get_user_mapping_size, PAGE_SIZE),
    'the walk finds nothing': returned(get_user_mapping_size, 0),
  },

  variants: {
    buggy: fails('use-after-free', {
      shows: ['bug:kvm-arm-user-walk-irqs'],
      patches: [patch(local_irq_save, nop), patch(local_irq_restore, nop)],
    }),
    fixed: safe(),
  },
});
