import { describe, expect, test } from 'vitest';
import { fn } from '../../src/machine/fn.ts';
import type { Steps } from '../../src/machine/op.ts';
import { spin_until } from '../../src/machine/ops/control.ts';
import { flush_guest_tlb, sched_out, vm_entry } from '../../src/machine/ops/host.ts';
import { READ_ONCE, WRITE_ONCE, write_entry } from '../../src/machine/ops/memory.ts';
import { free_frame } from '../../src/machine/ops/pages.ts';
import { csd_lock_wait, send_ipi } from '../../src/machine/ops/processor.ts';
import {
  broadcast_complete,
  invalidate_local,
  load_root,
  set_lazy,
  broadcast_issue,
  translations_gone,
} from '../../src/machine/ops/tlb.ts';
import { mapX, tasks, type Mapped } from '../zoo/tables.ts';
import { found } from './found.ts';

const STALE_X = (cpu: string): string =>
  `stale-translation: X is freed while ${cpu}'s TLB may still map 0x0 to it.`;

const everything = [null, null, null, true] as const;

const flush_handler = fn(function* flush_handler() {
  yield* invalidate_local(...everything);
});

/** munmap without its locks: clear the entry, flush, free the page. */
function* unmap(m: Mapped, flush: () => Steps<void>): Steps<void> {
  yield* write_entry(m.place(0), m.none);
  yield* flush();
  yield* free_frame(m.X);
}

function* noFlush(): Steps<void> {
  // that is the mistake
}

describe('a frame is freed while a CPU may have it cached', () => {
  const cpus = ['CPU0', 'CPU1'];

  function unmapping(flush: () => Steps<void>): string[] {
    const m = mapX({ cpus, loaded: [0, 1] });
    return found(tasks(m.machine, () => unmap(m, flush)));
  }

  test('no flush at all', () => {
    expect(unmapping(noFlush)).toEqual([STALE_X('CPU0'), STALE_X('CPU1')]);
  });

  test('the flush of one CPU leaves the other', () => {
    expect(unmapping(() => invalidate_local(...everything))).toEqual([STALE_X('CPU1')]);
  });

  test('a flush of another range', () => {
    const elsewhere = [null, 4096, 8192, true] as const;
    expect(unmapping(() => broadcast_complete(...elsewhere))).toEqual([
      STALE_X('CPU0'),
      STALE_X('CPU1'),
    ]);
  });

  test('a broadcast that nobody waits for', () => {
    expect(unmapping(() => broadcast_issue(...everything))).toEqual([
      STALE_X('CPU0'),
      STALE_X('CPU1'),
    ]);
  });

  test('nothing is found after a broadcast that has completed', () => {
    const flush = function* () {
      yield* broadcast_issue(...everything);
      yield* broadcast_complete(...everything);
    };
    expect(unmapping(flush)).toEqual([]);
  });

  test('nothing is found after an interrupt that the other CPU has handled', () => {
    const flush = function* () {
      yield* invalidate_local(...everything);
      yield* csd_lock_wait(yield* send_ipi(1, flush_handler, []));
    };
    expect(unmapping(flush)).toEqual([]);
  });

  test('an interrupt that was sent and not waited for', () => {
    const flush = function* () {
      yield* invalidate_local(...everything);
      yield* send_ipi(1, flush_handler, []);
    };
    expect(unmapping(flush)).toEqual([STALE_X('CPU1')]);
  });

  test('the entry is cleared after the flush: hardware may have walked to it in between', () => {
    const m = mapX({ cpus, loaded: [0] });
    const program = tasks(m.machine, function* () {
      yield* invalidate_local(...everything);
      yield* unmap(m, noFlush);
    });
    expect(found(program)).toEqual([STALE_X('CPU0')]);
  });

  test('a root loaded without a flush keeps what was cached under the same root before', () => {
    const m = mapX({ cpus, loaded: [0] });
    const program = tasks(m.machine, function* () {
      yield* load_root(0, false);
      yield* load_root(m.root, false);
      yield* unmap(m, noFlush);
    });
    expect(found(program)).toEqual([STALE_X('CPU0')]);
  });

  test('a tag that another root has had is loaded with what is filed under it', () => {
    const other = (flush: boolean): string[] => {
      const m = mapX({ cpus, loaded: [] });
      const program = tasks(m.machine, function* () {
        yield* load_root(m.root, true, 1);
        yield* load_root(m.tables[0]!.frame, flush, 1);
      });
      return found(program);
    };
    expect(other(true)).toEqual([]);
    expect(other(false)).toContain(
      'stale-translation: CPU0 translates by pte under a tag of pgd, whose translation to X it may still hold.',
    );
  });

  test('a flush under one tag leaves what is filed under another', () => {
    const m = mapX({ cpus, loaded: [] });
    const program = tasks(m.machine, function* () {
      yield* load_root(m.root, true, 1);
      yield* load_root(m.root, true, 2);
      yield* unmap(m, () => invalidate_local(...everything));
      yield* load_root(m.root, false, 1);
    });
    expect(found(program)).toEqual([]);
    const left = mapX({ cpus, loaded: [] });
    const stale = tasks(left.machine, function* () {
      yield* load_root(left.root, true, 1);
      yield* load_root(left.root, true, 2);
      yield* unmap(left, () => load_root(left.root, true, 2));
      yield* load_root(left.root, false, 1);
    });
    expect(found(stale)).toEqual([
      "stale-translation: X is gone, yet CPU0's TLB may still map 0x0 to it.",
    ]);
  });

  test('nothing is found if the root is loaded with a flush', () => {
    const m = mapX({ cpus, loaded: [0] });
    const program = tasks(m.machine, () => unmap(m, () => load_root(m.root, true)));
    expect(found(program)).toEqual([]);
  });
});

describe('a table is freed while a walk cache may lead to it', () => {
  function freeing(tables: boolean): string[] {
    const m = mapX({ cpus: ['CPU0'], loaded: [0] });
    return found(
      tasks(m.machine, function* () {
        yield* write_entry(m.place(0), m.none);
        yield* write_entry(m.place(1), m.none);
        yield* invalidate_local(null, null, null, tables);
        yield* free_frame(m.tables[0]!);
        yield* free_frame(m.X);
      }),
    );
  }

  test('a flush of leaf entries only', () => {
    expect(freeing(false)).toEqual([
      "stale-translation: pte is freed while CPU0's walk cache still leads to table pte.",
    ]);
  });

  test('nothing is found after a flush of tables too', () => {
    expect(freeing(true)).toEqual([]);
  });
});

describe('a CPU that cannot use a translation now must flush it before it can', () => {
  const DOOMED = (cpu: string): string =>
    `stale-translation: X is gone, yet ${cpu}'s TLB may still map 0x0 to it.`;

  function descheduled(onEntry: () => Steps<void>): string[] {
    const m = mapX({ cpus: ['CPU0', 'vCPU1'], loaded: [0, 1] });
    return found(
      tasks(m.machine, function* () {
        yield* sched_out(1);
        yield* unmap(m, () => invalidate_local(...everything));
        yield* onEntry();
        yield* vm_entry(1);
      }),
    );
  }

  test('a descheduled vCPU enters again with what it had', () => {
    expect(descheduled(noFlush)).toEqual([DOOMED('vCPU1')]);
  });

  test('nothing is found if the host flushes before it enters', () => {
    expect(descheduled(() => flush_guest_tlb(1))).toEqual([]);
  });

  function lazy(onLeaving: () => Steps<void>): string[] {
    const m = mapX({ cpus: ['CPU0', 'CPU1'], loaded: [0, 1] });
    const phase = m.machine.memory.variable('phase');
    return found(
      tasks(
        m.machine,
        function* () {
          yield* spin_until([phase], (value) => value === 1);
          yield* unmap(m, () => invalidate_local(...everything));
          yield* WRITE_ONCE(phase, 2);
        },
        function* () {
          yield* set_lazy(true);
          yield* WRITE_ONCE(phase, 1);
          yield* spin_until([phase], (value) => value === 2);
          yield* onLeaving();
          yield* set_lazy(false);
        },
      ),
    );
  }

  test('a CPU leaves lazy mode with what it had', () => {
    expect(lazy(noFlush)).toEqual([DOOMED('CPU1')]);
  });

  test('nothing is found if it flushes before it leaves lazy mode', () => {
    expect(lazy(() => invalidate_local(...everything))).toEqual([]);
  });
});

describe('promises and mappings', () => {
  function promising(flush: () => Steps<void>): string[] {
    const m = mapX({ cpus: ['CPU0'], loaded: [0] });
    return found(
      tasks(m.machine, function* () {
        yield* write_entry(m.place(0), m.none);
        yield* flush();
        yield* translations_gone(m.promised);
        return m.X; // keeps its reference
      }),
    );
  }

  test('a flush that promised a translation gone has left it', () => {
    expect(promising(noFlush)).toEqual([
      'stale-translation: CPU0 may still translate to X after CPU0 has flushed that translation.',
    ]);
  });

  test('nothing is found if the promise is kept', () => {
    expect(promising(() => invalidate_local(...everything))).toEqual([]);
  });

  test('a freed frame is mapped', () => {
    const m = mapX({ cpus: ['CPU0'], loaded: [0] });
    const again = m.linked(0);
    const program = tasks(m.machine, function* () {
      yield* unmap(m, () => invalidate_local(...everything));
      yield* write_entry(m.place(0), again);
    });
    expect(found(program)).toEqual([
      'stale-translation: CPU0 maps X for CPU0 although it has been freed.',
    ]);
  });

  test('nothing is found if a live frame is unmapped, flushed and mapped again', () => {
    const m = mapX({ cpus: ['CPU0'], loaded: [0] });
    const counter = m.machine.memory.variable('counter');
    const program = tasks(m.machine, function* () {
      yield* write_entry(m.place(0), m.none);
      yield* invalidate_local(...everything);
      yield* READ_ONCE(counter);
      yield* write_entry(m.place(0), m.linked(0));
    });
    expect(found(program)).toEqual([]);
  });
});

describe('a root table is freed', () => {
  const freeing = (before: (m: Mapped) => Steps<void>): string[] => {
    const m = mapX({ cpus: ['CPU0', 'CPU1'], loaded: [0] });
    return found(
      tasks(m.machine, () =>
        (function* () {
          yield* before(m);
          yield* free_frame(m.tables.at(-1)!);
        })(),
      ),
    ).filter((line) => line.includes('loaded root'));
  };

  test('while a CPU has it loaded: it may walk from there', () => {
    expect(freeing(noFlush)).toEqual([
      "stale-translation: pgd is freed while it is CPU0's loaded root.",
    ]);
  });

  test('nothing is found once the CPU has loaded another', () => {
    expect(freeing(() => load_root(0, true))).toEqual([]);
  });
});
