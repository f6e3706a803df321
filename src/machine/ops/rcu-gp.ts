import type { Actor } from '../actor.ts';
import type { Cell, Reader } from '../cells.ts';
import type { AnyFn } from '../fn.ts';
import type { Machine } from '../machine.ts';
import type { Word } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import type { OpenSections } from './rcu.ts';

/**
 * The steps of a grace-period machine; `kernel/rcu-tree.ts` composes them.
 *
 * Its state: the number of the grace period, how far numbers have been asked for, and per CPU whether the
 * present grace period still waits for it and which tasks it has left behind inside a section.
 */
interface GracePeriods {
  /** rcu_state.gp_seq: grace periods that ended, times four, plus one while another is in progress. */
  readonly seq: Word;
  /** rnp->gp_seq_needed: the highest number that anybody waits for. */
  readonly needed: Word;
  /** Bits of rnp->qsmask, one word each, so that reports of different CPUs do not meet. */
  readonly qsmask: readonly Word[];
  /** rnp->blkd_tasks by CPU, interned: readers that left their CPU, or that run on none (callbacks). */
  readonly blocked: readonly Cell[];
}

const NOBODY: OpenSections = { cpus: [], tasks: [] };

function gracePeriods(m: Machine): GracePeriods {
  let state = m.objects.get('rcu_state') as GracePeriods | undefined;
  if (!state) {
    const nobody = m.sections.id(NOBODY);
    state = {
      seq: m.memory.variable('rcu_state.gp_seq'),
      needed: m.memory.variable('rnp->gp_seq_needed'),
      qsmask: m.cpus.map(({ name }) => m.memory.variable(`rnp->qsmask[${name}]`)),
      blocked: [...m.cpus, null].map(() => m.cells.allocate(nobody)), // the last: on no CPU
    };
    m.objects.set('rcu_state', state);
  }
  return state;
}

const seqOp = defineOp('rcu_seq_current', {
  ordering: 'full', // rcu_accelerate_cbs() asks under rnp->lock
  exec: (m) => m.memory.load(gracePeriods(m).seq),
  describe: (_m, _who, _args, value) => ({ comment: String(value) }),
});

/** READ_ONCE(rcu_state.gp_seq). */
export function* gp_seq_current(): Steps<number> {
  return yield* perform(seqOp, []);
}

/** struct rcu_head, with what the callback is called with. */
export interface CallbackHead {
  readonly func: AnyFn;
  readonly args: readonly unknown[];
  /** Bookkeeping of the step that queues it (life states). */
  readonly effect: ((m: Machine) => void) | null;
}

const enqueueOp = defineOp('call_rcu', {
  ordering: 'full', // with its number, which it has got under rnp->lock
  exec: (m, who, [{ func, args, effect }, seq, body]: [CallbackHead, number, AnyFn]) => {
    effect?.(m);
    m.spawn(who, {
      fn: body,
      args: [seq, func, ...args],
      title: `RCU callback: ${func.title}()`,
      kind: 'softirq',
      cpu: -1,
      column: who.column,
    });
    return undefined;
  },
  describe: (_m, _who, [{ func }, seq]) => ({ comment: `${func.title} waits for gp_seq ${seq}` }),
});

/** Queues a callback: an actor that runs `body(seq, func, ...args)`. */
export function* enqueue_callback(head: CallbackHead, seq: number, body: AnyFn): Steps<void> {
  yield* perform(enqueueOp, [head, seq, body]);
}

const needOp = defineOp('rcu_start_this_gp', {
  ordering: 'full', // rnp->lock
  exec: (m, who, [seq, kthread]: [number, AnyFn]) => {
    const { needed } = gracePeriods(m);
    if (m.memory.load(needed) >= seq) return false;
    m.memory.store(needed, seq);
    m.spawn(who, {
      fn: kthread,
      args: [seq],
      title: kthread.title,
      kind: 'softirq',
      cpu: -1,
      column: who.column,
    });
    return true;
  },
});

/** Asks for the grace period that ends with `seq`; the first to ask wakes the kthread for it. */
export function* need_grace_period(seq: number, kthread: AnyFn): Steps<boolean> {
  return yield* perform(needOp, [seq, kthread]);
}

/** Callbacks that are running: readers on no CPU of the scenario. */
function runningCallbacks(m: Machine): OpenSections {
  const { cells } = m;
  if (cells.get(m.openCallbacks) === 0) return NOBODY;
  const running = ({ kind, index }: Actor): boolean =>
    kind === 'softirq' && cells.peek(m.cellsOf(index).rcuNesting) > 0; // changes with openCallbacks
  return sections(m, m.actors.filter(running));
}

/** The readers, each with what its count of ended sections must have come to. */
function sections(m: Machine, readers: readonly Actor[]): OpenSections {
  const ended = ({ index }: Actor): number => m.cells.get(m.cellsOf(index).rcuEnded);
  return { cpus: [], tasks: readers.map((reader) => [reader.index, ended(reader) + 1] as const) };
}

const initOp = defineOp('rcu_gp_init', {
  ordering: 'full', // rnp->lock
  guard: (read, m, _who, [previous]: [number, AnyFn]) =>
    read.get(gracePeriods(m).seq.cell) === previous,
  exec: (m, who, [previous, report]) => {
    const { seq, qsmask, blocked } = gracePeriods(m);
    m.memory.store(seq, previous + 1);
    for (const word of qsmask) m.memory.store(word, 1);
    m.cells.set(blocked[m.cpus.length] as Cell, m.sections.id(runningCallbacks(m)));
    for (const cpu of m.cpus) {
      m.spawn(who, {
        fn: report,
        args: [cpu.index],
        title: `${report.title}(${cpu.name})`,
        kind: 'softirq',
        cpu: cpu.index,
        column: cpu.name,
      });
    }
    return undefined;
  },
  describe: (_m, _who, [previous]) => ({ event: `grace period ${previous / 4 + 1} begins` }),
});

/** Begins the grace period after `previous`: every CPU owes a quiescent state, `report(cpu)` says so. */
export function* begin_grace_period(previous: number, report: AnyFn): Steps<void> {
  yield* perform(initOp, [previous, report]);
}

/** What a CPU may be doing and still count as quiescent. */
export interface QuiescentRule {
  /** Interrupts or preemption off: a reader, except before v4.20. */
  readonly ignoreAtomic: boolean;
  /** A task that leaves the CPU inside rcu_read_lock(): a reader, except where it cannot be preempted. */
  readonly ignoreBlocked: boolean;
}

const quiescentOp = defineOp('rcu_qs', {
  ordering: 'full', // a context switch, and rnp->lock: what was stored in sections before is in memory
  // Whoever reports runs on the CPU, so it is not descheduled and in no handler.
  guard: (read, m, who, [{ ignoreAtomic }]: [QuiescentRule]) =>
    ignoreAtomic || read.get(m.cpu(who.cpu).atomic) === 0,
  exec: (m, who, [{ ignoreBlocked }]) => {
    const { qsmask, blocked } = gracePeriods(m);
    m.memory.store(qsmask[who.cpu] as Word, 0);
    const inside = ({ kind, cpu, index }: Actor): boolean =>
      kind === 'task' && cpu === who.cpu && m.cells.get(m.cellsOf(index).rcuNesting) > 0;
    const left = m.actors.filter(inside);
    m.cells.set(
      blocked[who.cpu] as Cell,
      m.sections.id(ignoreBlocked ? NOBODY : sections(m, left)),
    );
    return left.length > 0;
  },
  describe: (m, who, _args, preempts) => ({
    event: `${m.cpu(who.cpu).name} ${preempts === true ? 'preempts a reader, ' : ''}reports a quiescent state`,
  }),
  waitsFor: (m, who) => `a quiescent state of ${m.cpu(who.cpu).name}`,
});

/** Waits until this CPU is in a quiescent state, and reports it for the present grace period. */
export function* quiescent_state(rule: QuiescentRule): Steps<void> {
  yield* perform(quiescentOp, [rule]);
}

/** Has everybody reported, and has every reader that was left behind ended its section? */
function over(read: Reader, m: Machine): boolean {
  const { qsmask, blocked } = gracePeriods(m);
  return (
    qsmask.every((word) => read.get(word.cell) === 0) &&
    blocked.every((cell) =>
      m.sections
        .at(read.get(cell))
        .tasks.every(([reader, count]) => read.get(m.cellsOf(reader).rcuEnded) >= count),
    )
  );
}

const cleanupOp = defineOp('rcu_gp_cleanup', {
  ordering: 'full', // rnp->lock
  guard: (read, m, _who, [_seq]: [number]) => over(read, m),
  exec: (m, _who, [seq]) => {
    m.memory.store(gracePeriods(m).seq, seq);
    return undefined;
  },
  describe: (_m, _who, [seq]) => ({ event: `grace period ${seq / 4} ends` }),
  waitsFor: () => 'the readers of a grace period',
});

/** Ends the grace period whose number is `seq` once nobody holds it up. */
export function* end_grace_period(seq: number): Steps<void> {
  yield* perform(cleanupOp, [seq]);
}

const passed = (read: Reader, m: Machine, seq: number): boolean =>
  read.get(gracePeriods(m).seq.cell) >= seq;

const invokeOp = defineOp('grace_period', {
  ordering: 'none', // a callback runs on no CPU of the scenario and has no buffer
  guard: (read, m, _who, [seq]: [number]) => passed(read, m, seq),
  exec: (m, who) => {
    m.cells.set(m.cellsOf(who.index).rcuNesting, 1); // softirq context is a read-side section
    m.cells.add(m.openCallbacks, 1);
    return undefined;
  },
  describe: (_m, who) => ({ event: who.name }),
  waitsFor: (_m, _who, [seq]) => `the end of grace period ${seq / 4}`,
});

/** A callback begins, once the grace period that it waits for has ended. */
export function* begin_callback(seq: number): Steps<void> {
  yield* perform(invokeOp, [seq]);
}

const sleepOp = defineOp('might_sleep', {
  ordering: 'none',
  exec: (m, who, [what]: [string]) => m.maySleep(who, what),
});

/** Says that `what` may sleep. */
export function* may_sleep(what: string): Steps<void> {
  yield* perform(sleepOp, [what]);
}

const waitOp = defineOp('synchronize_rcu', {
  ordering: 'full', // it sleeps
  guard: (read, m, _who, [seq]: [number]) => passed(read, m, seq),
  exec: () => undefined,
  waitsFor: (_m, _who, [seq]) => `the end of grace period ${seq / 4}`,
});

/** Waits until the grace period whose number is `seq` has ended. */
export function* wait_for_gp_seq(seq: number): Steps<void> {
  yield* perform(waitOp, [seq]);
}
