import type { StepCheck } from '../explore/run.ts';
import { signsOf } from './signs.ts';

/**
 * What the actors of a variant can do, as far as runs have shown it: by column, the functions with the values
 * that they gave, and the events. After every run has been explored it is all that they can ever do.
 */
export class Vocabulary {
  private readonly columns: Map<string, Words> = new Map();

  /** Watches runs. */
  readonly check: StepCheck = (machine, step) => {
    const words = this.wordsOf(step.who.column);
    for (const sign of signsOf(machine, step)) {
      if (sign.sign !== 'does') {
        note(words.functions, sign.name, null);
        continue;
      }
      const violation = sign.violations[0];
      for (const kind of sign.violations) words.violations.add(kind);
      if (sign.ghost) continue;
      // The second name is the machine's own; people write the kernel's.
      if (sign.names[0] !== undefined) note(words.functions, sign.names[0], sign.comment);
      if (sign.event !== null) words.events.add(sign.event);
      if (sign.comment !== null) words.comments.add(sign.comment);
      if (sign.buffered) words.comments.add('in the store buffer');
      if (violation !== undefined) words.violations.add(violation);
    }
  };

  private wordsOf(column: string): Words {
    const known = this.columns.get(column);
    if (known) return known;
    const words: Words = {
      functions: new Map(),
      events: new Set(),
      comments: new Set(),
      violations: new Set(),
    };
    this.columns.set(column, words);
    return words;
  }

  /** Functions that the actors of a column execute, in the order in which runs first showed them. */
  functions(column: string): string[] {
    return [...(this.columns.get(column)?.functions.keys() ?? [])];
  }

  /** What was seen of a function there; null if nothing. */
  values(column: string, name: string): string[] | null {
    const values = this.columns.get(column)?.functions.get(name);
    return values ? [...values] : null;
  }

  events(column: string): string[] {
    return [...(this.columns.get(column)?.events ?? [])];
  }

  comments(column: string): string[] {
    return [...(this.columns.get(column)?.comments ?? [])];
  }

  /** Columns in which somebody executes the function. */
  elsewhere(name: string): string[] {
    return [...this.columns].filter(([, { functions }]) => functions.has(name)).map(([at]) => at);
  }

  hasViolation(kind: string): boolean {
    return [...this.columns.values()].some(({ violations }) => violations.has(kind));
  }
}

interface Words {
  readonly functions: Map<string, Set<string>>;
  readonly events: Set<string>;
  readonly comments: Set<string>;
  readonly violations: Set<string>;
}

function note(functions: Words['functions'], name: string, comment: string | null): void {
  const values = functions.get(name) ?? new Set();
  functions.set(name, values);
  if (comment !== null) values.add(comment);
}
