import { shownSteps, sentence, type RunView, type ShownStep } from './run-view.ts';
import { fold } from './wrap.ts';
import type { SourceLines } from '../scenario/result.ts';

/** Stepping through a run: a place in it, commands that move the place, and the text of the place. */

/** Commands by the key that gives them; arrow keys and Enter are other names of `j` and `k`. */
export const STEP_COMMANDS: readonly (readonly [string, string])[] = [
  ['j', 'next step (also Enter, Right, Down)'],
  ['k', 'previous step (also Left, Up)'],
  ['J', 'next step on this CPU'],
  ['K', 'previous step on this CPU'],
  ['n', 'next context switch'],
  ['N', 'previous context switch'],
  ['g', 'first step'],
  ['G', 'last step'],
  ['!', 'the step that violates'],
  ['q', 'leave (also Ctrl-C)'],
  ['?', 'this list'],
];

export class Stepper {
  private readonly steps: readonly ShownStep[];
  private readonly view: RunView;
  private at = 0;

  constructor(view: RunView, source: SourceLines) {
    this.view = view;
    this.steps = shownSteps(view.run, source);
  }

  /** Moves; what is to be said if there is nowhere to go, else null. A number or `/text` goes there. */
  move(command: string): string | null {
    if (/^\d+$/.test(command)) {
      const found = this.steps.findIndex(({ n }) => n === Number(command));
      return this.go(found, `there is no step ${command}`);
    }
    if (command.startsWith('/')) return this.search(command.slice(1));
    const here = this.steps[this.at]?.column;
    switch (command) {
      case 'j':
        return this.go(this.at + 1 < this.steps.length ? this.at + 1 : -1, 'this is the last step');
      case 'k':
        return this.go(this.at - 1, 'this is the first step');
      case 'J':
        return this.go(
          this.find(1, (step) => step.column === here),
          `${here} has no further step`,
        );
      case 'K':
        return this.go(
          this.find(-1, (step) => step.column === here),
          `${here} has no earlier step`,
        );
      case 'n':
        return this.go(
          this.find(1, (step, at) => this.isSwitch(step, at)),
          'no further switch',
        );
      case 'N':
        return this.go(
          this.find(-1, (step, at) => this.isSwitch(step, at)),
          'no earlier switch',
        );
      case 'g':
        return this.go(0, '');
      case 'G':
        return this.go(this.steps.length - 1, '');
      case '!':
        return this.go(
          this.steps.findIndex(({ violation }) => violation),
          'no step violates anything',
        );
      default:
        return `'${command}' is no command; ? lists them`;
    }
  }

  private go(to: number, otherwise: string): string | null {
    if (to < 0) return otherwise;
    this.at = to;
    return null;
  }

  private find(by: 1 | -1, wanted: (step: ShownStep, at: number) => boolean): number {
    for (let at = this.at + by; at >= 0 && at < this.steps.length; at += by) {
      if (wanted(this.steps[at] as ShownStep, at)) return at;
    }
    return -1;
  }

  private isSwitch(step: ShownStep, at: number): boolean {
    return at > 0 && this.steps[at - 1]?.column !== step.column;
  }

  private search(text: string): string | null {
    const fits = (step: ShownStep): boolean => text !== '' && step.text.includes(text);
    const found = this.find(1, fits);
    return this.go(found >= 0 ? found : this.steps.findIndex(fits), `no step has '${text}'`);
  }

  /** The step, where it is, and what it changed. */
  render(width: number): string {
    const step = this.steps[this.at];
    if (!step) return 'The run has no steps.\n';
    const { scenario, variant } = this.view;
    const path = step.frames.map(({ name }) => `${name}()`).join(' > ');
    const value = step.comment === null ? '' : `  // ${step.comment}`;
    const from = (step.arrows ?? []).map(({ from: n, kind }) => `${kind} from step ${n}`);
    const changes = (step.changes ?? []).map(
      ({ what, before, after }) => `${what}: ${before} => ${after}`,
    );
    const list = [...from, ...changes];
    return [
      `${scenario} / ${variant}: step ${step.n} of ${this.steps.at(-1)?.n ?? 0}`,
      '',
      `[${step.column}]${step.actor === step.column ? '' : ` ${step.actor}`}${path === '' ? '' : `  in ${path}`}`,
      `    ${step.text}${value}`,
      ...(step.violation ? [`    !!! ${sentence(this.view.run)}`] : []),
      '',
      ...(list.length === 0 ? ['Nothing changes.'] : list),
      '',
    ]
      .map((line) => fold(line, width))
      .join('\n');
  }
}

export function stepHelp(): string {
  const rows = STEP_COMMANDS.map(([key, what]) => `  ${key}  ${what}`);
  return `${[...rows, '  12 goes to step 12, /text to the next step with that text (as lines)'].join('\n')}\n`;
}
