import { describe, expect, test } from 'vitest';
import { x86_64 } from '../../src/arch/index.ts';
import {
  entered,
  safe,
  scenario,
  type Machine,
  type Scenario,
  type Steps,
  type Word,
} from '../../src/index.ts';
import * as linux from '../../src/kernel/index.ts';
import type { MmuNotifierOps } from '../../src/kernel/mm/mmu_notifier-types.ts';
import { checkVariant } from '../../src/scenario/check.ts';
import { explore } from '../../src/explore/explore.ts';
import { buildVariant } from '../../src/scenario/program.ts';

/** The core of MMU notifiers by itself: who is told, how often, and until when. */

const {
  PAGE_SIZE,
  READ_ONCE,
  WRITE_ONCE,
  mmu_notifier_get,
  mmu_notifier_invalidate_range_end,
  mmu_notifier_invalidate_range_start,
  mmu_notifier_put,
  mmu_notifier_range_init,
  mmu_notifier_register,
  mmu_notifier_release,
  mmu_notifier_unregister,
  new_mm,
  new_mmu_notifier,
  new_page,
  notifiers_of,
} = linux;

const ADDR = 0x1000;
const OPTIONS = { limits: {}, now: () => 0 };

interface State {
  readonly mm: linux.Mm;
  readonly mn: linux.MmuNotifier;
  readonly other: linux.MmuNotifier;
  readonly starts: Word;
  readonly ends: Word;
  readonly releases: Word;
  readonly freed: Word;
}

function setup(m: Machine): State {
  const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: [] });
  const word = (name: string): Word => m.memory.variable(name);
  const [starts, ends, releases, freed] = ['starts', 'ends', 'releases', 'freed'].map(word) as [
    Word,
    Word,
    Word,
    Word,
  ];
  function* count(counter: Word): Steps<void> {
    yield* WRITE_ONCE(counter, (yield* READ_ONCE(counter)) + 1);
  }
  const ops: MmuNotifierOps = {
    release: () => count(releases),
    *invalidate_range_start() {
      yield* count(starts);
      return true;
    },
    invalidate_range_end: () => count(ends),
    free_notifier: () => count(freed),
  };
  const mn = new_mmu_notifier(m, mm, 'mn', ops);
  return { mm, mn, other: new_mmu_notifier(m, mm, 'other', ops), starts, ends, releases, freed };
}

type Body = (s: State) => Steps<unknown>;

function question(bodies: readonly Body[], begin: (m: Machine) => State = setup): Scenario {
  return scenario<State>('core', {
    machine: x86_64({ cpus: bodies.length }),
    config: { MMU_NOTIFIER: true },
    setup: begin,
    run: Object.fromEntries(bodies.map((body, at) => [`CPU${at}`, body])),
    sometimes: { 'it runs': entered('CPU0', READ_ONCE) },
    variants: { only: safe() },
  });
}

/** What the last actor returns, in every run. */
function results(bodies: readonly Body[], begin: (m: Machine) => State = setup): string[] {
  const all = new Set<string>();
  explore(buildVariant(question(bodies, begin), 'only', { traced: false }).program, {
    ended: ({ nodes }) => all.add(String(nodes[bodies.length - 1]?.result)),
  });
  return [...all].sort();
}

function* invalidate({ mm }: State): Steps<void> {
  const range = mmu_notifier_range_init(mm, ADDR, ADDR + PAGE_SIZE);
  yield* mmu_notifier_invalidate_range_start(range);
  yield* mmu_notifier_invalidate_range_end(range);
}

function* counts({ starts, ends, releases, freed }: State): Steps<string> {
  const all: number[] = [];
  for (const word of [starts, ends, releases, freed]) all.push(yield* READ_ONCE(word));
  return all.join();
}

describe('one after the other', () => {
  test('nobody is told who has not registered', () => {
    expect(
      results([
        function* (s) {
          yield* invalidate(s);
          return yield* counts(s);
        },
      ]),
    ).toEqual(['0,0,0,0']);
  });

  test('all who have are told of each start and each end, until they unregister', () => {
    expect(
      results([
        function* (s) {
          yield* mmu_notifier_register(s.mn);
          yield* invalidate(s);
          yield* mmu_notifier_register(s.other);
          yield* invalidate(s);
          yield* mmu_notifier_unregister(s.mn);
          yield* invalidate(s);
          yield* mmu_notifier_unregister(s.other);
          yield* invalidate(s);
          return yield* counts(s);
        },
      ]),
    ).toEqual(['4,4,2,0']);
  });

  test('the end of the address space releases each once, and nobody is told afterwards', () => {
    expect(
      results([
        function* (s) {
          yield* mmu_notifier_register(s.mn);
          yield* mmu_notifier_register(s.other);
          yield* mmu_notifier_release(s.mm);
          yield* mmu_notifier_unregister(s.mn); // finds itself off the list
          yield* invalidate(s);
          return yield* counts(s);
        },
      ]),
    ).toEqual(['0,0,2,0']);
  });

  test('a subscriber that is used twice is registered once, and freed when the last user has gone', () => {
    const last = function* (s: State): Steps<string> {
      yield* mmu_notifier_get(s.mn);
      yield* mmu_notifier_get(s.mn);
      yield* mmu_notifier_put(s.mn);
      yield* invalidate(s);
      const before = yield* counts(s);
      yield* mmu_notifier_put(s.mn);
      yield* linux.synchronize_srcu(notifiers_of(s.mm).srcu);
      yield* invalidate(s);
      return `${before} ${yield* counts(s)}`;
    };
    // The callback runs after the grace period, which may be after all this.
    expect(results([last])).toEqual(['1,1,0,0 1,1,0,0', '1,1,0,0 1,1,0,1']);
  });

  test('the mm_struct is kept by its subscribers, and goes with the last', () => {
    const body = function* (s: State): Steps<number> {
      yield* mmu_notifier_register(s.mn);
      yield* linux.mmput(s.mm);
      const before = yield* READ_ONCE(notifiers_of(s.mm).mm_count);
      yield* mmu_notifier_unregister(s.mn);
      return before;
    };
    expect(results([body])).toEqual(['1']);
    for (const field of ['mm_count', 'subscriptions'] as const) {
      const late = function* (s: State): Steps<void> {
        yield* body(s);
        const { mm_count, subs } = notifiers_of(s.mm);
        yield* READ_ONCE(field === 'mm_count' ? mm_count : subs.lock);
      };
      expect(checkVariant(question([late]), 'only', OPTIONS).kinds).toEqual(['use-after-free']);
    }
  });
});

describe('at the same time', () => {
  test('an unregistered subscriber may be freed: nobody is in its methods', () => {
    const used = function* (s: State): Steps<string> {
      yield* mmu_notifier_unregister(s.mn);
      return (yield* READ_ONCE(s.starts)) === (yield* READ_ONCE(s.ends)) ? 'quiet' : 'told later';
    };
    expect(results([invalidate, used])).toEqual(['quiet']);
  });
});

test('a start that is refused is taken back from those who have an end', () => {
  const refusing = (m: Machine): State => {
    const s = setup(m);
    linux.registered(m, s.mn);
    const ops: MmuNotifierOps = {
      *invalidate_range_start() {
        return false; // -EAGAIN
      },
    };
    linux.registered(m, new_mmu_notifier(m, s.mm, 'refuses', ops));
    return s;
  };
  const body = function* (s: State): Steps<string> {
    const range = mmu_notifier_range_init(s.mm, ADDR, ADDR + PAGE_SIZE, false);
    return `${yield* mmu_notifier_invalidate_range_start(range)} ${yield* counts(s)}`;
  };
  expect(results([body], refusing)).toEqual(['false 1,1,0,0']);
});

test('and so is what interval notifiers have begun', () => {
  const refusing = (m: Machine): State => {
    const s = setup(m);
    const length = PAGE_SIZE;
    linux.inserted(m, linux.new_mirror(m, s.mm, 'gpu', { start: ADDR, length }).sub);
    const ops: MmuNotifierOps = {
      *invalidate_range_start() {
        return false;
      },
    };
    linux.registered(m, new_mmu_notifier(m, s.mm, 'refuses', ops));
    return s;
  };
  const body = function* (s: State): Steps<string> {
    const { subs } = notifiers_of(s.mm);
    const range = mmu_notifier_range_init(s.mm, ADDR, ADDR + PAGE_SIZE, false);
    const started = yield* mmu_notifier_invalidate_range_start(range);
    const active = yield* READ_ONCE(subs.active_invalidate_ranges);
    return `${started} ${active} ${(yield* READ_ONCE(subs.invalidate_seq)) % 2}`;
  };
  expect(results([body], refusing)).toEqual(['false 0 0']);
});

describe('aging', () => {
  const { folio_referenced, new_shadow, shadow_ops, device_load } = linux;

  function aged(uses: boolean): string[] {
    const question = scenario<{ mm: linux.Mm; X: linux.Page; kvm: linux.Shadow }>('aging', {
      machine: x86_64({ cpus: 1 }),
      config: { MMU_NOTIFIER: true },
      setup(m) {
        const X = new_page(m, 'X');
        const mm = new_mm(m, 'mm', { [ADDR]: X }, { on: [] });
        const kvm = new_shadow(m, mm, 'kvm', { marks: true, mapped: { [ADDR]: X } });
        linux.registered(m, new_mmu_notifier(m, mm, 'mn', shadow_ops(kvm)));
        return { mm, X, kvm };
      },
      run: {
        *CPU0({ mm, X, kvm }) {
          yield* folio_referenced(mm, X); // whatever was there before
          if (uses) yield* device_load(kvm, ADDR);
          const first = yield* folio_referenced(mm, X);
          return `${first} ${yield* folio_referenced(mm, X)}`;
        },
      },
      sometimes: { 'it runs': entered('CPU0', folio_referenced) },
      variants: { only: safe() },
    });
    const all = new Set<string>();
    explore(buildVariant(question, 'only', { traced: false }).program, {
      ended: ({ nodes }) => all.add(String(nodes[0]?.result)),
    });
    return [...all];
  }

  test('a page that the device has used is referenced, once', () => {
    expect(aged(true)).toEqual(['1 0']);
    expect(aged(false)).toEqual(['0 0']);
  });
});

test('what a kernel is not compiled for, nobody can register for', () => {
  const without = scenario<State>('off', {
    machine: x86_64({ cpus: 1 }),
    setup,
    run: { CPU0: invalidate },
    sometimes: { 'it runs': entered('CPU0', READ_ONCE) },
    variants: { only: safe() },
  });
  expect(() => buildVariant(without, 'only', { traced: false })).toThrow(/MMU_NOTIFIER/);
});
