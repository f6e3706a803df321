import { describe, expect, test } from 'vitest';
import { arm64, x86_64 } from '../../src/arch/index.ts';
import {
  fn,
  patch,
  returned,
  safe,
  scenario,
  spin_until,
  type Machine,
  type Scenario,
  type Steps,
  type Word,
} from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import { READ_ONCE, WRITE_ONCE } from '../../src/machine/ops/memory.ts';
import { allocate_frame } from '../../src/machine/ops/pages.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import { replayToken } from '../../src/scenario/replay.ts';
import type { VariantResult } from '../../src/scenario/result.ts';
import { parseToken } from '../../src/scenario/token.ts';

/** Questions that were once answered wrongly, each in its smallest form. */

const ADDR = 0x1000;
const NEIGHBOUR = 0x200000;

function check(question: Scenario, variant = 'only'): VariantResult {
  return checkVariant(question, variant, { limits: {}, now: () => 0 });
}

function words(...names: readonly string[]) {
  return (m: Machine): Record<string, Word> =>
    Object.fromEntries(names.map((name) => [name, m.memory.variable(name)]));
}

type Words = Readonly<Record<string, Word>>;

function word(w: Words, name: string): Word {
  return w[name] as Word;
}

function mapped(m: Machine): { mm: linux.Mm } {
  const pages = { [ADDR]: linux.new_page(m, 'X'), [NEIGHBOUR]: linux.new_page(m, 'Y') };
  return { mm: linux.new_mm(m, 'mm', pages) };
}

const two = { machine: x86_64({ cpus: 2 }), sometimes: {}, variants: { only: safe() } };

describe('the run drawn is the run found', () => {
  // Two callbacks, which the search meets in another order than the failing run creates them in.
  const first = fn(function* first(w: Words) {
    yield* WRITE_ONCE(word(w, 'x'), 5);
  });
  const second = fn(function* second(w: Words) {
    if ((yield* READ_ONCE(word(w, 'y'))) === 1) yield* linux.rcu_read_unlock();
  });
  const question = scenario<Words>('two-callbacks', {
    ...two,
    setup: words('x', 'y', 'locked', 'flag'),
    run: {
      *CPU0(w) {
        yield* linux.rcu_read_lock();
        yield* WRITE_ONCE(word(w, 'locked'), 1);
        const flag = yield* READ_ONCE(word(w, 'flag'));
        yield* linux.call_rcu(first, [w]);
        if (flag === 1) yield* WRITE_ONCE(word(w, 'y'), 1);
        yield* linux.rcu_read_unlock();
      },
      *CPU1(w) {
        yield* spin_until([word(w, 'locked')], (value) => value === 1);
        yield* WRITE_ONCE(word(w, 'flag'), 1);
        yield* linux.call_rcu(second, [w]);
      },
    },
  });

  test('with two callbacks that are met in another order', () => {
    const { run, token, kinds } = check(question);
    expect(kinds).toEqual(['rcu-misuse']);
    expect(run?.violation?.actor).toBe('RCU callback: second()');
    expect(run?.steps.at(-1)?.violation?.kind).toBe('rcu-misuse');
    expect(replayToken(question, 'only', parseToken(token ?? '').schedule)).toEqual(run);
  });

  test('with the second of two invariants', () => {
    const invariants = scenario<Words>('second-invariant', {
      ...two,
      setup: words('x'),
      run: {
        *CPU0(w) {
          yield* WRITE_ONCE(word(w, 'x'), 1);
          yield* WRITE_ONCE(word(w, 'x'), 0);
        },
      },
      always: {
        'first is fine': (v) => v.read(word(v.s, 'x')) < 5,
        'second is not': (v) => v.read(word(v.s, 'x')) === 0,
      },
    });
    const { run, token } = check(invariants);
    expect(run?.violation?.object).toBe('second is not');
    expect(replayToken(invariants, 'only', parseToken(token ?? '').schedule)).toEqual(run);
  });
});

describe('behind the machine’s back', () => {
  test('an argument that its creator changes later throws', () => {
    const callback = fn(function* callback(w: Words, box: { value: number }) {
      yield* WRITE_ONCE(word(w, 'bad'), box.value);
    });
    const question = scenario<Words>('mutable', {
      ...two,
      setup: words('flag', 'bad'),
      run: {
        *CPU0(w) {
          const box = { value: 0 };
          yield* linux.call_rcu(callback, [w, box]);
          if ((yield* READ_ONCE(word(w, 'flag'))) === 1) box.value = 1;
        },
        CPU1: (w) => WRITE_ONCE(word(w, 'flag'), 1),
      },
    });
    expect(() => check(question)).toThrow(TypeError);
  });

  test('a variable that one actor leaves for another is E303', () => {
    let seen = 0;
    const question = scenario<Words>('outer', {
      ...two,
      setup: words('n', 'out'),
      run: {
        *CPU0(w) {
          seen = yield* READ_ONCE(word(w, 'n'));
        },
        *CPU1(w) {
          yield* WRITE_ONCE(word(w, 'n'), 1);
          yield* WRITE_ONCE(word(w, 'out'), seen);
        },
      },
    });
    expect(() => check(question)).toThrow(expect.objectContaining({ code: 'E303' }));
  });

  /** CPU0 raises a flag outside itself at its first step; CPU1 looks at its first step or at its second. */
  test.each([
    { lowers: true, looks: 'first', by: 'CPU1' },
    { lowers: false, looks: 'first', by: 'CPU1' },
    { lowers: true, looks: 'second', by: 'CPU1' },
    { lowers: true, looks: 'second', by: 'CPU0' },
  ] as const)('a flag that $by sees at its $looks step is E303', ({ lowers, looks, by }) => {
    const shared = { flag: false };
    function* raise(w: Words): Steps<void> {
      shared.flag = true;
      yield* WRITE_ONCE(word(w, 'n'), 1);
      if (lowers) shared.flag = false;
    }
    function* look(w: Words): Steps<void> {
      if (looks === 'second') yield* READ_ONCE(word(w, 'out'));
      yield* WRITE_ONCE(word(w, 'out'), shared.flag ? 1 : 2);
    }
    const question = scenario<Words>('outer', {
      ...two,
      setup: words('n', 'out'),
      run: by === 'CPU1' ? { CPU0: raise, CPU1: look } : { CPU0: look, CPU1: raise },
    });
    expect(() => check(question)).toThrow(expect.objectContaining({ code: 'E303' }));
  });

  test.each([
    ['handlers of one name', (flag: number) => (flag === 0 ? 'good' : 'bad')],
    ['closures of one text', (flag: number) => flag],
  ])('%s are told apart', (_name, choose) => {
    const good = fn(function* handler(w: Words) {
      yield* WRITE_ONCE(word(w, 'ok'), 1);
    });
    const bad = fn(function* handler(w: Words) {
      yield* WRITE_ONCE(word(w, 'bad'), 1);
    });
    const closing = fn(function* closing(w: Words, value: () => number) {
      yield* WRITE_ONCE(word(w, 'bad'), value());
    });
    const question = scenario<Words>('names', {
      ...two,
      setup: words('flag', 'ok', 'bad'),
      run: {
        *CPU0(w) {
          const flag = yield* READ_ONCE(word(w, 'flag'));
          const choice = choose(flag);
          if (typeof choice === 'number') yield* linux.call_rcu(closing, [w, () => flag]);
          else yield* linux.call_rcu(choice === 'good' ? good : bad, [w]);
        },
        CPU1: (w) => WRITE_ONCE(word(w, 'flag'), 1),
      },
      always: { 'bad stays 0': (v) => v.read(word(v.s, 'bad')) === 0 },
    });
    expect(check(question).kinds).toEqual(['property']);
  });
});

describe('a correct protocol', () => {
  test('may map the same page again before the host has flushed', () => {
    const remap = fn(function* remap(mm: linux.Mm, ptep: linux.Ptep): Steps<void> {
      const tlb = yield* linux.tlb_gather_mmu(mm);
      const old = yield* linux.ptep_get(ptep);
      yield* linux.unmap_vmas(tlb, ADDR, ADDR + linux.PAGE_SIZE);
      yield* linux.tlb_flush_mmu_tlbonly(tlb);
      yield* linux.write_entry(ptep, old);
      tlb.pages = []; // its mapping reference is used again
      yield* linux.tlb_finish_mmu(tlb);
    });
    const question = scenario<{ mm: linux.Mm; ptep: linux.Ptep }>('remap', {
      machine: x86_64.kvm_guest({ vcpus: 2, preempt: { vCPU0: 1 } }),
      host: linux.kvm_host,
      setup: (m) => {
        const { mm } = mapped(m);
        return { mm, ptep: { ...linux.pte_table(m, mm, ADDR), index: 1 } };
      },
      run: {
        vCPU0: ({ mm }) => READ_ONCE(mm.tlb_gen),
        vCPU1: ({ mm, ptep }) => remap(mm, ptep),
      },
      sometimes: { done: returned(remap, undefined) },
      variants: {
        only: safe({ patches: [patch(linux.flush_tlb_multi, linux.kvm_flush_tlb_multi)] }),
      },
    });
    expect(check(question).verdict).toBe('safe');
  });

  test('may drop the last reference on what a page has become', () => {
    const reuse = fn(function* reuse(mm: linux.Mm): Steps<void> {
      yield* linux.munmap(mm, ADDR, linux.PAGE_SIZE);
      const page = yield* allocate_frame({ what: 'new', level: -1, recycle: true });
      yield* linux.folio_put(page);
    });
    const question = scenario<{ mm: linux.Mm }>('reuse', {
      machine: arm64({ cpus: 2 }),
      setup: mapped,
      run: { CPU0: ({ mm }) => linux.get_user_pages_fast(mm, ADDR), CPU1: ({ mm }) => reuse(mm) },
      sometimes: { done: returned(reuse, undefined) },
      variants: { only: safe() },
    });
    expect(check(question).verdict).toBe('safe');
  });

  test('may walk in an RCU callback: it is a read-side section', () => {
    const walk = fn(function* walk(mm: linux.Mm): Steps<void> {
      yield* linux.walk_page_range_rcu(mm, ADDR);
    });
    const question = scenario<{ mm: linux.Mm }>('callback', {
      ...two,
      setup: mapped,
      run: {
        CPU0: ({ mm }) => linux.call_rcu(walk, [mm]),
        CPU1: ({ mm }) => linux.munmap(mm, ADDR, linux.PAGE_SIZE),
      },
      sometimes: { done: returned(linux.munmap, undefined) },
    });
    expect(check(question).verdict).toBe('safe');
  });

  test.each([
    ['whose table has another mapping', [ADDR, 0x2000, NEIGHBOUR], ADDR, 0x1000],
    ['over two tables', [0x1ff000, NEIGHBOUR, 0x400000], 0x1ff000, 0x2000],
  ])('may unmap a range %s', (_name, addresses, start, length) => {
    const question = scenario<{ mm: linux.Mm }>('ranges', {
      ...two,
      setup: (m) => {
        const pages = addresses.map((addr, at) => [addr, linux.new_page(m, `P${at}`)] as const);
        return { mm: linux.new_mm(m, 'mm', Object.fromEntries(pages)) };
      },
      run: {
        CPU0: ({ mm }) => READ_ONCE(mm.tlb_gen),
        CPU1: ({ mm }) => linux.munmap(mm, start, length),
      },
      sometimes: { done: returned(linux.munmap, undefined) },
    });
    expect(check(question)).toMatchObject({ verdict: 'safe', sometimes: { done: 'seen' } });
  });
});

test('an invariant of a page-table entry is broken by an entry that is empty for a moment', () => {
  const question = scenario<{ mm: linux.Mm; ptep: linux.Ptep }>('entry', {
    machine: x86_64({ cpus: 1 }),
    setup: (m) => {
      const { mm } = mapped(m);
      return { mm, ptep: { ...linux.pte_table(m, mm, ADDR), index: 1 } };
    },
    run: {
      *CPU0({ ptep }) {
        const old = yield* linux.ptep_get_and_clear(ptep);
        yield* linux.write_entry(ptep, old);
      },
    },
    always: { 'X stays mapped': (v) => v.entry(v.s.ptep).present },
    sometimes: {},
    variants: { only: safe() },
  });
  expect(check(question).kinds).toContain('property');
});
