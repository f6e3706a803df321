// A CPU leaves mm_cpumask() and keeps its ASID.  linux arch/riscv, 2023.
import {
  fails,
  fn,
  leaf,
  nop,
  patch,
  returned,
  safe,
  scenario,
  type Steps,
  type Word,
} from 'gracewalk';
import { riscv } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  folio_put,
  invalidate_local,
  load_root,
  new_mm,
  new_page,
  pte_off,
  pte_page,
  ptep_get_and_clear,
  smp_call_function_many,
  smp_mb,
  user_load,
  type Mm,
  type Ptep,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly other: Mm;
  readonly ptep: Ptep;
}

const sfence_vma = leaf(function* sfence_vma(mm: Mm): Steps<void> {
  yield* invalidate_local(mm.pgd, ADDR, ADDR + PAGE_SIZE, true);
});

const remote_sfence_vma = fn(function* remote_sfence_vma(mm: Mm): Steps<void> {
  yield* sfence_vma(mm);
});

/** Fences the harts in the mask, and this one. */
const flush_tlb_page = fn(function* flush_tlb_page(mm: Mm): Steps<void> {
  const mask: number[] = [];
  for (const [cpu, bit] of mm.cpumask.entries()) if (yield* READ_ONCE(bit)) mask.push(cpu);
  yield* smp_call_function_many(mask, remote_sfence_vma, mm);
  yield* sfence_vma(mm);
});

const zap_page = fn(function* zap_page({ mm, ptep }: State): Steps<void> {
  const pte = yield* ptep_get_and_clear(ptep);
  yield* flush_tlb_page(mm);
  yield* folio_put(pte_page(pte));
});

const csr_write_satp = leaf(function* csr_write_satp(next: Mm): Steps<void> {
  yield* load_root(next.pgd, false); // under its ASID: what was cached of it is still there
});

/** The mistake: the bit says "runs it", and it must say "may have cached it". */
const cpumask_clear_prev = fn(function* cpumask_clear_prev(prev: Mm, cpu: number): Steps<void> {
  yield* WRITE_ONCE(prev.cpumask[cpu] as Word, 0);
});

const switch_mm = fn(function* switch_mm(prev: Mm, next: Mm, cpu: number): Steps<void> {
  yield* WRITE_ONCE(next.cpumask[cpu] as Word, 1);
  yield* smp_mb();
  yield* csr_write_satp(next);
  yield* cpumask_clear_prev(prev, cpu);
});

export default scenario<State>('riscv-asid-cpumask', {
  title: 'riscv: the mask says who runs an address space, not who has cached it',
  citation:
    'linux commit 82dd33fde026, "riscv: asid: Fixup stale TLB entry cause application crash", 2023 (from memory, not confirmed)',
  story:
    'A hart that switches away from a process keeps what it cached of it under the ASID. It also left the mask to ' +
    'which fences are sent. When the process came back to the hart, with the same ASID, it went on with translations ' +
    'that had been removed meanwhile: applications crashed. The cure leaves the bit set as long as the ASID may have ' +
    'entries.',

  machine: riscv({ cpus: 2 }),

  setup(m) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') });
    const other = new_mm(m, 'other', { [ADDR]: new_page(m, 'Y') }, { on: [] });
    return { mm, other, ptep: pte_off(m, mm, ADDR) };
  },

  run: {
    CPU0: (state) => zap_page(state),
    *CPU1({ mm, other }) {
      yield* switch_mm(mm, other, 1);
      yield* switch_mm(other, mm, 1);
      return yield* user_load(mm, ADDR);
    },
  },

  sometimes: {
    'the page is still there': returned(user_load, (value) => value !== null),
    'the page is gone': returned(user_load, null),
  },

  variants: {
    buggy: fails(['stale-translation', 'use-after-free'], { shows: ['bug:riscv-asid-cpumask'] }),
    fixed: safe({ patches: [patch(cpumask_clear_prev, nop)] }),
  },
});
