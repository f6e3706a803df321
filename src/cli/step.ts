import { createInterface } from 'node:readline';
import { Stepper, stepHelp } from '../report/stepper.ts';
import type { Replayed } from './protocol.ts';
import { sourceLines } from './source-lines.ts';

/**
 * `replay --step`: one step after the other, by keys on a terminal, by lines where there is none (a pipe, a
 * test, a screen reader's shell). Whatever ends it, the terminal is left as it was found.
 */
export async function stepThrough(replayed: Replayed, width: number): Promise<void> {
  const stepper = new Stepper(replayed, sourceLines());
  const { stdin, stdout } = process;
  if (stdin.isTTY && stdout.isTTY) await byKeys(stepper, width);
  else await byLines(stepper, width);
}

async function byLines(stepper: Stepper, width: number): Promise<void> {
  const { stdin, stdout } = process;
  stdout.write(`${stepper.render(width)}\n`);
  for await (const line of createInterface({ input: stdin })) {
    const command = line.trim() === '' ? 'j' : line.trim();
    if (command === 'q') return;
    if (command === '?') stdout.write(`${stepHelp()}\n`);
    else stdout.write(`${stepper.move(command) ?? stepper.render(width)}\n`);
  }
}

/** What terminals send for keys that are no letters. */
const KEYS: Readonly<Record<string, string>> = {
  '\r': 'j',
  '\n': 'j',
  ' ': 'j',
  '\x1b[C': 'j',
  '\x1b[B': 'j',
  '\x1b[D': 'k',
  '\x1b[A': 'k',
  '\x03': 'q',
  '\x04': 'q',
};

const ENTER_SCREEN = '\x1b[?1049h';
const LEAVE_SCREEN = '\x1b[?1049l';
const CLEAR = '\x1b[H\x1b[2J';

function byKeys(stepper: Stepper, most: number): Promise<void> {
  const { stdin, stdout } = process;
  const show = (text: string): void => {
    const hint = 'j next, k previous, n switch, ! failing step, ? more, q leave';
    // In raw mode a line feed does not go back to the first column.
    stdout.write(`${CLEAR}${`${text}\n${hint}`.replaceAll('\n', '\r\n')}`);
  };
  const width = (): number => Math.min(most, Math.max(20, (stdout.columns || 80) - 1));
  return new Promise((resolve) => {
    let open = true;
    const restore = (): void => {
      if (!open) return;
      open = false;
      stdin.setRawMode(false);
      stdin.pause();
      stdout.write(LEAVE_SCREEN);
      stdin.off('data', hear);
      process.off('SIGTERM', end).off('SIGHUP', end).off('exit', restore);
    };
    const end = (): void => {
      restore();
      resolve();
    };
    const hear = (data: Buffer): void => {
      const text = data.toString('utf8');
      const key = KEYS[text] ?? text;
      if (key === 'q') end();
      else if (key === '?') show(stepHelp());
      else {
        const problem = stepper.move(key);
        show(stepper.render(width()) + (problem === null ? '' : `\n${problem}`));
      }
    };
    process.once('SIGTERM', end).once('SIGHUP', end).once('exit', restore);
    stdin.setRawMode(true);
    stdin.on('data', hear);
    stdin.resume();
    stdout.write(ENTER_SCREEN);
    show(stepper.render(width()));
  });
}
