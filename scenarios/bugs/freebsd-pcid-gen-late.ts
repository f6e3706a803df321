// Generations of PCIDs invalidated after the CPUs were chosen.  FreeBSD amd64 pmap, 2020.
import {
  fails,
  fn,
  leaf,
  only,
  patch,
  returned,
  safe,
  scenario,
  type Steps,
  type Word,
} from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  folio_put,
  invalidate_local,
  kern_pcid,
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
const PCID = kern_pcid(0); // under which CPU1 has cached it

interface State {
  readonly mm: Mm;
  readonly ptep: Ptep;
  /** pm_active: is the address space loaded on CPU1? */
  readonly active: Word;
  /** pm_pcids[1].pm_gen: 0 says that what CPU1 has cached under the PCID is of no use. */
  readonly gen: Word;
}

const invlpg = leaf(function* invlpg(mm: Mm, va: number): Steps<void> {
  yield* invalidate_local(mm.pgd, va, va + PAGE_SIZE, true);
});

const invlpg_handler = fn(function* invlpg_handler(mm: Mm, va: number): Steps<void> {
  yield* invlpg(mm, va);
});

/** CPUs that have switched away must find their generation gone when they come back. */
const pmap_invalidate_preipi = fn(function* pmap_invalidate_preipi(gen: Word): Steps<void> {
  yield* WRITE_ONCE(gen, 0);
  yield* smp_mb(); // before the set of active CPUs is read
});

const smp_masked_invlpg = fn(function* smp_masked_invlpg({ mm, active }: State): Steps<void> {
  const mask = (yield* READ_ONCE(active)) ? [1] : [];
  yield* smp_call_function_many(mask, invlpg_handler, mm, ADDR);
});

const pmap_invalidate_page = fn(function* pmap_invalidate_page(state: State): Steps<void> {
  yield* pmap_invalidate_preipi(state.gen);
  yield* invlpg(state.mm, ADDR);
  yield* smp_masked_invlpg(state);
});

const pmap_remove = fn(function* pmap_remove(state: State): Steps<void> {
  const pte = yield* ptep_get_and_clear(state.ptep);
  yield* pmap_invalidate_page(state);
  yield* folio_put(pte_page(pte));
});

/** A write to CR3 under the PCID; without CR3_PCID_SAVE it drops what is cached under it. */
const load_cr3 = leaf(function* load_cr3(mm: Mm, flush: boolean): Steps<void> {
  yield* load_root(mm.pgd, flush, PCID);
});

const pmap_activate_sw_pcid = fn(function* pmap_activate_sw_pcid(state: State): Steps<boolean> {
  const { mm, active, gen } = state;
  yield* WRITE_ONCE(active, 1);
  yield* smp_mb();
  const cached = (yield* READ_ONCE(gen)) !== 0;
  yield* load_cr3(mm, !cached);
  return cached;
});

export default scenario<State>('freebsd-pcid-gen-late', {
  title: 'FreeBSD: a CPU comes back to its PCID between the interrupts and the generations',
  citation:
    'FreeBSD 3fd989da9118, erratum FreeBSD-EN-22:04.pcid, "amd64 pmap: fix PCID mode invalidations", 2020',
  story:
    'A CPU that switches away from an address space keeps what it cached under its PCID, and uses it again if its ' +
    'generation is still valid. The invalidation first interrupted the CPUs on which the address space was active, ' +
    'and only then cleared the generations of the others. A CPU that came back in between was in neither set: it ' +
    'went on with translations of pages that were gone. The cure clears all generations first.',

  machine: x86_64({ cpus: 2 }),

  setup(m) {
    const ran = { on: ['CPU0'], ran_on: ['CPU1'] };
    const mm = new_mm(m, 'pmap', { [ADDR]: new_page(m, 'X') }, ran);
    new_mm(m, 'other', { [ADDR]: new_page(m, 'Y') }, { on: ['CPU1'] });
    const variable = (name: string, value: number): Word => m.memory.variable(name, value);
    return {
      mm,
      ptep: pte_off(m, mm, ADDR),
      active: variable('pm_active[CPU1]', 0),
      gen: variable('pm_pcids[CPU1].pm_gen', 1),
    };
  },

  run: {
    CPU0: (state) => pmap_remove(state),
    *CPU1(state) {
      yield* pmap_activate_sw_pcid(state);
      return yield* user_load(state.mm, ADDR);
    },
  },

  sometimes: {
    'CPU1 keeps what it has cached': returned(pmap_activate_sw_pcid, true),
    'CPU1 drops what it has cached': only(['fixed'], returned(pmap_activate_sw_pcid, false)),
    'the page is still there': only(
      ['fixed'],
      returned(user_load, (value) => value !== null),
    ),
  },

  variants: {
    buggy: fails(['stale-translation', 'use-after-free'], {
      shows: ['bug:freebsd-pcid-gen-late'],
      patches: [
        patch(pmap_invalidate_page, function* (state) {
          yield* invlpg(state.mm, ADDR);
          yield* smp_masked_invlpg(state);
          yield* pmap_invalidate_preipi(state.gen);
        }),
      ],
    }),
    fixed: safe(),
  },
});
