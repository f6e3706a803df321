import type { SourceLines, Step } from '../scenario/result.ts';
import { statementText } from './statement.ts';

/**
 * Store buffers in a diagram. A store stands where the program has it; that it reaches memory is an event of
 * its CPU, told by the statement: `<WRITE_ONCE(x, 1) reaches memory>`. It is worth a row only where somebody
 * else did something in between; a store that goes to memory at once is one row, as if there were no buffers.
 */
export function withFlushes(steps: readonly Step[], source: SourceLines): Step[] {
  return steps.map((step) => {
    const issued = issuer(steps, step);
    return issued ? { ...step, event: `${told(issued, source)} ${step.event ?? ''}` } : step;
  });
}

/** Of a store that others do not see for a while. */
export const IN_THE_BUFFER = 'in the store buffer';

/** What others notice of a store, they notice when it is flushed: then the store is worth showing, too. */
export function withMeetings(steps: readonly Step[]): Step[] {
  const met = new Set(steps.filter(({ meets }) => meets).map(({ flushes }) => flushes));
  return steps.map((step) => (met.has(step.n) ? { ...step, meets: true } : step));
}

/** Leaves out what needs no row of its own, and says which stores stay in the buffer for a while. */
export function withoutIdleFlushes(steps: readonly Step[]): Step[] {
  const comments = new Map<number, string>();
  const kept = steps.filter((step) => {
    const issued = issuer(steps, step);
    if (!issued || step.violation || someoneElseBetween(steps, issued, step)) return true;
    comments.set(issued.n, step.comment ?? '');
    return false;
  });
  return kept.map((step) => {
    if (step.buffered !== true || step.comment !== null) return step;
    return { ...step, comment: comments.get(step.n) ?? IN_THE_BUFFER };
  });
}

function issuer(steps: readonly Step[], { flushes }: Step): Step | undefined {
  return flushes === undefined ? undefined : steps.find(({ n }) => n === flushes);
}

function someoneElseBetween(steps: readonly Step[], from: Step, to: Step): boolean {
  return steps.some(
    ({ n, column, ghost }) => n > from.n && n < to.n && column !== to.column && !ghost,
  );
}

/** The statement without its semicolon, or the event that stands for it. */
function told(step: Step, source: SourceLines): string {
  return step.event ?? statementText(step, source).replace(/;$/, '');
}
