import { renderDiagram, type DiagramOptions } from './diagram.ts';
import { statementText } from './statement.ts';
import { fold } from './wrap.ts';
import type { RunReport, SourceLines, Step, Stop } from '../scenario/result.ts';

/** What became of a schedule in another variant. */
export interface Followed {
  /** Where it came from, and where it was followed. */
  readonly from: string;
  readonly variant: string;
  readonly stop: Stop | null;
}

/** The diagram up to where the schedule stops, and the reason why its next step cannot come. */
export function renderFollowed(
  run: RunReport,
  followed: Followed,
  options: DiagramOptions,
): string {
  const { from, variant, stop } = followed;
  const head = stop
    ? `The schedule of '${from}' stops in '${variant}' at its step ${stop.due.n}.`
    : `The schedule of '${from}' is possible in '${variant}' to its last step.`;
  const text = [head, ...(stop ? [] : [outcome(run)])].join('  ');
  const reason = stop === null ? [] : [folded(stopReason(run, stop, options.source), options), ''];
  return [folded(text, options), renderDiagram(run, options), ...reason].join('\n');
}

/** Two sentences have two spaces between them, which must not end a line. */
function folded(text: string, { width }: DiagramOptions): string {
  return fold(text, width).replace(/ +$/gm, '');
}

function outcome({ violation }: RunReport): string {
  return violation ? `${violation.message}` : 'There it violates nothing.';
}

/** Two sentences at most: what cannot come, and why. */
export function stopReason(run: RunReport, stop: Stop, source: SourceLines): string {
  const { due, actor, kind } = stop;
  const what = shown(due, source);
  switch (kind) {
    case 'absent':
      return `${what} cannot come next: there is no ${actor} here.`;
    case 'finished':
      return `${what} cannot come next: ${actor} has finished without it.`;
    case 'waits':
      return `${what} cannot come next: ${actor} ${stop.at === null ? '' : `is at ${stop.at}() and `}waits for ${stop.waitsFor}.`;
    case 'instead': {
      const own = run.steps.slice(stop.followed);
      const first = own.find((step) => !step.ghost) ?? own[0];
      const [there, here] = first ? callsApart(due, first, source) : [what, 'something else'];
      const then = stop.held
        ? `  When it goes on, ${stop.held.actor} waits for ${stop.held.waitsFor}.`
        : '';
      return `${actor} does ${here} instead of ${there}.${then}`;
    }
  }
}

/** Two steps by the outermost calls in which they differ, or by what they do. */
function callsApart(due: Step, instead: Step, source: SourceLines): [string, string] {
  const apart = due.frames.findIndex(({ name }, at) => name !== instead.frames[at]?.name);
  const common = apart < 0 ? due.frames.length : apart;
  const call = (step: Step): string => {
    const frame = step.event === null ? step.frames[common] : undefined;
    return frame ? `${frame.name}()` : shown(step, source);
  };
  const calls: [string, string] = [call(due), call(instead)];
  return calls[0] === calls[1] ? [shown(due, source), shown(instead, source)] : calls;
}

/** As the diagram shows it, without its semicolon. */
function shown(step: Step, source: SourceLines): string {
  return step.event === null ? statementText(step, source).replace(/;$/, '') : `<${step.event}>`;
}

/** As data. */
export function followedJson(
  run: RunReport,
  { variant, stop }: Followed,
  source: SourceLines,
): Record<string, unknown> {
  if (stop === null) return { on: variant, possible: true, stop: null };
  const { due, ...why } = stop;
  const step = { n: due.n, actor: due.actor, text: shown(due, source) };
  return {
    on: variant,
    possible: false,
    stop: { step, ...why, reason: stopReason(run, stop, source) },
  };
}
