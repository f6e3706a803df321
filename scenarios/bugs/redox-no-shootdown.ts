// An unmapping that tells no other CPU.  Redox kernel, merge request 282, 2023.
import { fails, fn, leaf, nop, only, patch, returned, safe, scenario, type Steps } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  down_write,
  folio_put,
  invalidate_local,
  mm_find_pmd,
  new_mm,
  new_page,
  offset_lockless,
  pmdp_get,
  pte_page,
  ptep_get_and_clear,
  smp_call_function_many,
  up_write,
  user_load,
  type Mm,
  type Page,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
}

const invlpg = leaf(function* invlpg(mm: Mm, addr: number): Steps<void> {
  yield* invalidate_local(mm.pgd, addr, addr + PAGE_SIZE, true);
});

const tlb_shootdown_handler = fn(function* tlb_shootdown_handler(
  mm: Mm,
  addr: number,
): Steps<void> {
  yield* invlpg(mm, addr);
});

/** The fix: every CPU of the process invalidates, and the unmapper waits until it has. */
const shootdown = fn(function* shootdown(mm: Mm, addr: number): Steps<void> {
  const others = mm.kernel.cpus.map(({ cpu }) => cpu);
  yield* smp_call_function_many(others, tlb_shootdown_handler, mm, addr);
});

const unmap = fn(function* unmap(mm: Mm, addr: number): Steps<Page | null> {
  const pmdp = yield* mm_find_pmd(mm, addr);
  if (!pmdp) return null;
  const pmd = yield* pmdp_get(pmdp);
  const pte = yield* ptep_get_and_clear(offset_lockless(mm, pmd, 0, addr));
  yield* invlpg(mm, addr);
  return pte_page(pte);
});

const munmap = fn(function* munmap(mm: Mm, addr: number): Steps<void> {
  yield* down_write(mm.mmap_lock); // the address space's lock
  const frame = yield* unmap(mm, addr);
  yield* shootdown(mm, addr);
  if (frame) yield* folio_put(frame);
  yield* up_write(mm.mmap_lock);
});

export default scenario<State>('redox-no-shootdown', {
  title: 'Redox: the unmapping CPU invalidates its own TLB only',
  citation: 'Redox kernel, merge request 282, "Implement TLB shootdown", 2023',
  story:
    'A thread unmapped memory, invalidated the translation on its own CPU, and gave the frame back. Threads of ' +
    'the same process on other CPUs went on using it through theirs: their stores landed in whatever the frame ' +
    'had become, and programs were seen executing zeroes. The cure is what every other kernel does: interrupt ' +
    'the CPUs that run the address space and wait, before the frame is free.',

  machine: x86_64({ cpus: 2 }),

  setup: (m) => ({ mm: new_mm(m, 'process', { [ADDR]: new_page(m, 'X') }) }),

  run: {
    CPU0: ({ mm }) => munmap(mm, ADDR),
    CPU1: ({ mm }) => user_load(mm, ADDR),
  },

  foreign: 1,

  sometimes: {
    'the other thread still finds the page': only(
      ['fixed'],
      returned(user_load, (value) => value !== null),
    ),
    'the other thread faults': only(['fixed'], returned(user_load, null)),
  },

  variants: {
    buggy: fails(['stale-translation', 'use-after-free'], {
      shows: ['bug:redox-no-shootdown'],
      patches: [patch(shootdown, nop)],
    }),
    fixed: safe(),
  },
});
