import { ascii } from './ascii.ts';
import type { RunReport, SourceLines, Step, StepFrame } from '../scenario/result.ts';
import { IN_THE_BUFFER, withFlushes, withMeetings, withoutIdleFlushes } from './flushes.ts';
import { statementText } from './statement.ts';

/** The rows of a diagram, before they are laid out in columns or tagged (R4 to R11). */
export interface Row {
  readonly column: string;
  /** Indentation in levels of two spaces. */
  readonly depth: number;
  readonly text: string;
  /** Observed value, printed behind `// `. */
  readonly comment: string | null;
  readonly failing: boolean;
  /** For `...`: lock operations are among what was left out. */
  readonly hidesLocks?: boolean;
}

/**
 * How much of a run is drawn: every step; what matters, if every step is too much; or what matters, without
 * the functions it happens in, as in a mail.
 */
export type Detail = 'full' | 'auto' | 'min';

/** R10: a diagram of up to so many rows is shown whole. */
const WHOLE = 40;

export function rowsOf(run: RunReport, detail: Detail, source: SourceLines): Row[] {
  const steps = withoutIdleFlushes(withFlushes(withMeetings(run.steps), source));
  const visible = steps.filter((step) => !step.ghost || step.violation !== null || step.refusals);
  const shown = inColumns(visible, run.columns);
  const whole = layOut(shown, () => true, source);
  if (detail === 'full' || (detail === 'auto' && whole.length <= WHOLE)) return whole;
  const frames = detail === 'min' ? new Set<string>() : framesWorthShowing(run, shown);
  const brief = shown.map((step) => ({
    ...step,
    frames: step.frames.filter((_frame, depth) => frames.has(frameKey(step, depth))),
  }));
  return layOut(brief, (step) => worthShowing(run, step), source);
}

/** What happens on no CPU (a freed frame goes to another owner) stands in the column that was active. */
function inColumns(steps: readonly Step[], columns: readonly string[]): Step[] {
  let column = columns[0] ?? '';
  return steps.map((step) => {
    if (step.column !== '') column = step.column;
    return step.column === column ? step : { ...step, column };
  });
}

/** Steps that say who was let in and who was kept waiting. */
const TELLING: ReadonlySet<string> = new Set(['call_rcu', 'send_ipi', 'wait_ipi', 'choose']);

const BROADCAST: ReadonlySet<string> = new Set([
  'broadcast_issue',
  'broadcast_complete',
  'xchg_entry_flush',
]);

/**
 * The steps without which the run cannot be followed: what happens to the object of the violation, what one
 * CPU does that another notices, and how the violator protects itself.
 */
function worthShowing(run: RunReport, step: Step): boolean {
  if (step.violation || step.meets || step.asked || TELLING.has(step.op)) return true;
  if (step.holdsUp || step.refusals || isFailedAttempt(step)) return true;
  if (step.event) return step.flushes === undefined;
  const { violation } = run;
  if (!violation) return false;
  if (step.op === 'free_page') return step.objects.includes(violation.object);
  // What went stale, when, and what was done against it. No section of the violator's would have helped.
  if (violation.kind === 'stale-translation')
    return takesAway(step, violation.object) || BROADCAST.has(step.op);
  const own = step.actor === violation.actor;
  return own && (step.op === 'irq_save' || step.op === 'irq_restore' || step.op === 'rcu_nest');
}

/** Somebody was refused what he tried to take. */
function isFailedAttempt({ op, comment }: Step): boolean {
  return op === 'trylock' && comment === 'false';
}

/** Does the step clear an entry that led to the object? */
function takesAway({ op, objects, comment }: Step, object: string): boolean {
  if (op === 'xchg_entry' && objects.includes(object)) return true;
  return (
    comment?.includes(`${object} unlinked`) === true ||
    comment?.includes(`${object} unmapped`) === true
  );
}

function frameKey(step: Step, depth: number): string {
  const frame = step.frames[depth] as StepFrame;
  return `${step.actor}/${frame.call}`;
}

/**
 * Activations worth a row: those with something worth showing in them, less those that only lead to a single
 * inner one (of such a chain the outermost call of an actor is kept, and the innermost).
 */
function framesWorthShowing(run: RunReport, steps: readonly Step[]): Set<string> {
  const children = new Map<string, Set<string>>();
  const outermost = new Set<string>();
  steps.forEach((step, at) => {
    if (!worthShowing(run, step)) return;
    step.frames.forEach((_frame, depth) => {
      const key = frameKey(step, depth);
      const inner = children.get(key) ?? new Set<string>();
      children.set(key, inner);
      inner.add(depth + 1 < step.frames.length ? frameKey(step, depth + 1) : `statement ${at}`);
      if (depth === 0) outermost.add(key);
    });
  });
  const keys = new Set<string>();
  for (const [key, inner] of children) {
    const [only] = inner;
    const leadsOn = inner.size === 1 && only !== undefined && children.has(only);
    if (!leadsOn || outermost.has(key)) keys.add(key);
  }
  return keys;
}

interface Thread {
  /** Activations already opened, outermost first. */
  open: StepFrame[];
  /** Indentation of the actor's outermost frame: handlers are indented below what they interrupt. */
  base: number;
  /** The event that began a handler or callback. */
  event: string | null;
}

function layOut(
  steps: readonly Step[],
  isShown: (step: Step) => boolean,
  source: SourceLines,
): Row[] {
  const rows: Row[] = [];
  const threads = new Map<string, Thread>();
  const depths = new Map<string, number>();
  for (const each of steps) {
    const thread = threads.get(each.actor) ?? { open: [], base: 0, event: null };
    threads.set(each.actor, thread);
    if (each.op === 'irq_exit' && each.event !== null && each.violation === null) continue;
    if (isBeginning(each)) {
      thread.base = beginningDepth(each, depths) + 1;
      thread.event = each.event;
    }
    const step = withoutHandler(thread, each);
    if (isShown(step)) {
      if (!step.ghost || step.violation) show(rows, thread, step, source);
      for (const refusal of step.refusals ?? []) {
        rows.push(row(step, thread.base + step.frames.length, `[ ${refusal} ]`)); // R9
      }
    } else elide(rows, thread, step);
    if (!isBystander(step)) depths.set(step.column, thread.base + step.frames.length);
  }
  return rows.filter((each, at) => !isIdleElision(rows, each, at));
}

/** `<IPI: flush_tlb_func>` opens the body of that function; its frame would say the same again. */
function withoutHandler(thread: Thread, step: Step): Step {
  const name = step.frames[0]?.name;
  if (name === undefined || !thread.event?.split(/[^\w]+/).includes(name)) return step;
  return { ...step, frames: step.frames.slice(1) };
}

/**
 * An elision is worth a row between two statements of a column, not at an edge, unless it hides lock
 * operations: those are never dropped without a mark (R10).
 */
function isIdleElision(rows: readonly Row[], each: Row, at: number): boolean {
  if (each.text !== '...' || each.hidesLocks) return false;
  const before = rows[at - 1];
  const first = before?.column !== each.column || before.text.endsWith('()');
  return first || rows[at + 1]?.column !== each.column;
}

/** The entry of a handler or callback: its event row stands where its column is, its steps below. */
function isBeginning(step: Step): boolean {
  return step.event !== null && (step.op === 'irq_enter' || step.op === 'grace_period');
}

/** An interrupt stands below what it interrupts; a callback interrupts nothing. */
function beginningDepth(step: Step, depths: ReadonlyMap<string, number>): number {
  return step.op === 'irq_enter' ? (depths.get(step.column) ?? 0) : 0;
}

/** The host's steps leave the indentation of the column alone: the vCPU goes on where it was. */
function isBystander(step: Step): boolean {
  return step.event !== null;
}

function openFrames(rows: Row[], thread: Thread, step: Step, upTo: number): void {
  let common = 0;
  while (common < upTo && thread.open[common]?.call === step.frames[common]?.call) common++;
  thread.open = step.frames.slice(0, upTo);
  for (let depth = common; depth < upTo; depth++) {
    const frame = step.frames[depth] as StepFrame;
    rows.push(row(step, thread.base + depth, `${frame.name}()`));
  }
}

function row(step: Step, depth: number, text: string, comment: string | null = null): Row {
  const value = comment === null || comment === '' ? null : ascii(comment);
  return { column: step.column, depth, text: ascii(text), comment: value, failing: false };
}

function show(rows: Row[], thread: Thread, step: Step, source: SourceLines): void {
  const comment = step.violation ? `!!! ${step.violation.kind}` : step.comment;
  const failing = step.violation !== null;
  if (step.event !== null) {
    const depth = isBeginning(step) ? thread.base - 1 : thread.base;
    const remark = failing || isFlushWithNews(step) ? comment : null;
    rows.push({ ...row(step, depth, `<${step.event}>`, remark), failing });
    return;
  }
  openFrames(rows, thread, step, step.frames.length);
  if (step.ghost) {
    const remark = `[ ${step.comment ?? step.op} ]`; // R9: a check has found something, nothing was executed
    const kind = step.violation ? `!!! ${step.violation.kind}` : null;
    rows.push({ ...row(step, thread.base + step.frames.length, remark, kind), failing });
    return;
  }
  const text = statementText(step, source);
  const remark = !failing && saysAlready(text, step) ? null : comment;
  rows.push({ ...row(step, thread.base + step.frames.length, text, remark), failing });
}

function isFlushWithNews(step: Step): boolean {
  return step.flushes !== undefined && !saysAlready(step.event ?? '', step);
}

const STORES: ReadonlySet<string> = new Set(['write', 'write_entry', 'xchg_entry']);

/** `WRITE_ONCE(x, 1);` needs no remark that it stores 1. */
function saysAlready(text: string, { op, comment, flushes }: Step): boolean {
  if (!STORES.has(op) && flushes === undefined) return false;
  if (comment === IN_THE_BUFFER) return false;
  return text.includes(`, ${comment})`) || (op === 'write' && /, -?\d+\);$/.test(text));
}

const LOCK_OPS: ReadonlySet<string> = new Set([
  'lock',
  'trylock',
  'unlock',
  'read_lock',
  'read_unlock',
]);

function elide(rows: Row[], thread: Thread, step: Step): void {
  const hidesLocks = LOCK_OPS.has(step.op);
  openFrames(rows, thread, step, step.frames.length); // something else in them is shown
  const last = rows.at(-1);
  if (last?.text === '...' && last.column === step.column) {
    if (hidesLocks) rows[rows.length - 1] = { ...last, hidesLocks };
    return;
  }
  rows.push({ ...row(step, thread.base + step.frames.length, '...'), hidesLocks });
}
