import { grouped } from '../report/numbers.ts';
import type { Message } from './protocol.ts';
import { StatusLine, clock, type LineStream } from './term.ts';

/** At most twice a second. */
const USUAL_SECONDS = 0.5;

/** Says when it is time again; the first time is at once. */
export class Interval {
  private readonly ms: number;
  private last = -Infinity;

  constructor(seconds: number) {
    this.ms = 1000 * seconds;
  }

  passed(now: number): boolean {
    if (now - this.last < this.ms) return false;
    this.last = now;
    return true;
  }
}

/** One line on stderr that says how far a search is: what has been done, and an estimate that says so. */
export class ProgressDisplay {
  private readonly line: StatusLine;
  private readonly interval: Interval;
  private readonly on: boolean;

  /** `asked`: what --progress says. Nothing asked: on a terminal only. */
  constructor(stream: LineStream, asked: number | 'off' | undefined) {
    this.line = new StatusLine(stream);
    this.on = asked === undefined ? stream.isTTY === true : asked !== 'off';
    this.interval = new Interval(typeof asked === 'number' ? asked : USUAL_SECONDS);
  }

  show(message: Extract<Message, { kind: 'progress' }>, now: number): void {
    if (this.on && this.interval.passed(now)) this.line.show(progressText(message));
  }

  clear(): void {
    this.line.clear();
  }
}

export function progressText({
  scenario,
  variant,
  progress,
}: Extract<Message, { kind: 'progress' }>): string {
  const { runs, steps, ms, phase, estimate } = progress;
  const parts = [
    `${scenario} / ${variant}`,
    `${grouped(runs)} runs`,
    `${grouped(steps)} steps`,
    clock(ms),
    phase,
    ...(estimate === null ? [] : [`perhaps ${Math.floor(estimate * 100)} %`]),
  ];
  return parts.join('  ');
}
