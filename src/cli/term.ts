import { PLAIN, type Painter } from '../report/text-options.ts';

/** The few things a terminal can do that we use: colours, and one line that is rewritten. */

export type ColorMode = 'auto' | 'always' | 'never';

export interface Environment {
  readonly NO_COLOR?: string | undefined;
  readonly FORCE_COLOR?: string | undefined;
  readonly TERM?: string | undefined;
}

/** Whether to colour what goes to a stream: the option first, then the environment, then the stream. */
export function colorWanted(mode: ColorMode, env: Environment, isTerminal: boolean): boolean {
  if (mode !== 'auto') return mode === 'always';
  // no-color.org: present and not empty. It wins over FORCE_COLOR, as plain text is never wrong.
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR !== undefined) return env.FORCE_COLOR !== '0' && env.FORCE_COLOR !== 'false';
  return isTerminal && env.TERM !== 'dumb';
}

/** Colours verdict words and the failing row; the text is the same without. */
export function painter(colored: boolean): Painter {
  if (!colored) return PLAIN;
  const paint =
    (code: number) =>
    (text: string): string =>
      `\x1b[${code}m${text}\x1b[0m`;
  return { good: paint(32), bad: paint(31), warn: paint(33) };
}

/** The part of a `tty.WriteStream` that a status line needs. */
export interface LineStream {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const CLEAR_LINE = '\r\x1b[K';

/**
 * One line on stderr that is rewritten in place. On anything but a terminal each text is a line of its own,
 * which only happens if somebody asked for progress by name.
 */
export class StatusLine {
  private readonly stream: LineStream;
  private shown = false;

  constructor(stream: LineStream) {
    this.stream = stream;
  }

  show(text: string): void {
    if (!this.stream.isTTY) {
      this.stream.write(`${text}\n`);
      return;
    }
    // One character short of the edge: some terminals wrap when the last column is filled.
    // A terminal that does not know its size says 0.
    const room = (this.stream.columns || 80) - 1;
    this.stream.write(`${CLEAR_LINE}${text.slice(0, room)}`);
    this.shown = true;
  }

  /** Must run before anything else is written to the terminal. */
  clear(): void {
    if (this.shown) this.stream.write(CLEAR_LINE);
    this.shown = false;
  }
}

/** 366000 ms -> `6:06`, with hours only when there are some. */
export function clock(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const pad = (n: number): string => String(n).padStart(2, '0');
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return h > 0 ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}
