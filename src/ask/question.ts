import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { Cell, Diagram, Row } from './diagram.ts';
import { abbreviates, aliasesOf, isFalse, isPlain, sameValue, shows } from './names.ts';
import type { Item } from './pattern.ts';
import { quoted } from './read-diagram.ts';
import type { Sign } from './signs.ts';
import type { Vocabulary } from './vocabulary.ts';

/** What the words of a question may mean. */
export interface Meaning {
  /** How messages call the question: `race.txt`, `stdin`. */
  readonly name: string;
  /** What the variant does. */
  readonly own: Vocabulary;
  /** What the scenario's other variants do: functions among them that this one lacks are no typing errors. */
  readonly others: readonly Vocabulary[];
  /** Functions of the library that take no step. */
  readonly plainCalls: ReadonlySet<string>;
  /** Take names that come close for what was meant. */
  readonly fixTypos: boolean;
}

/** A question as the search takes it. */
export interface Question {
  readonly items: readonly Item[];
  /** What was understood otherwise than it was written; printed with the answer. */
  readonly notes: readonly string[];
  /** E501: rows that match no step. With them there is no answer. */
  readonly errors: readonly GracewalkError[];
}

/** Gives the rows of a diagram their meaning in one variant. */
export function questionOf(diagram: Diagram, meaning: Meaning): Question {
  const reader = new Reader(meaning);
  for (const row of diagram.rows) reader.read(row);
  if (diagram.next !== null) {
    reader.notes.push(
      `line ${diagram.next}: another diagram begins here; it is not asked. Leave out what is above it to ask it`,
    );
  }
  return reader;
}

class Reader implements Question {
  readonly items: Item[] = [];
  readonly notes: string[] = [];
  readonly errors: GracewalkError[] = [];
  private readonly meaning: Meaning;

  constructor(meaning: Meaning) {
    this.meaning = meaning;
  }

  read(row: Row): void {
    const { cell } = row;
    switch (cell.is) {
      case 'elision':
        return;
      case 'remark':
        if (cell.violation !== null) this.remark(row, cell.violation);
        return;
      case 'call':
        this.call(row, cell);
        return;
      case 'condition':
        this.condition(row, cell.constants);
        return;
      case 'event':
        cell.parts.forEach((part, at) => this.event(row, cell, part, at === cell.parts.length - 1));
    }
  }

  /** `[ ... ]  // !!! kind`: what a check has found. */
  private remark(row: Row, violation: string): void {
    const matches = (sign: Sign): boolean =>
      sign.sign === 'does' && sign.ghost && sign.violations.includes(violation);
    this.items.push({ row, title: row.text, column: null, matches, resembles: never });
  }

  private call(row: Row, cell: Extract<Cell, { is: 'call' }>): void {
    const { column } = row;
    const plain = cell.names.filter((name) => this.isPlainHere(name, column));
    if (plain.length === cell.names.length) {
      this.notes.push(`row ${row.n}: ${called(plain)} is a computation and takes no step`);
      return;
    }
    const names = cell.names.flatMap((name) => this.resolved(row, name));
    const lacking = cell.names.filter((name) => this.isLacking(name, column));
    if (names.length === 0) {
      if (lacking.length === cell.names.length) {
        const verb = lacking.length === 1 ? 'is not' : 'are not';
        this.notes.push(
          `row ${row.n}: ${called(lacking, ' and ')} ${verb} called in this variant; left out`,
        );
      }
      return;
    }
    const { done, truth, value, violation } = cell;
    if (value !== null && !this.isValue(row, names, value)) return;
    const resembles = (sign: Sign): boolean => names.some((name) => isCall(sign, name, done));
    const matches = (sign: Sign): boolean =>
      resembles(sign) && fits(sign, { value, violation, truth });
    this.items.push({ row, title: titleOf(names, done), column, matches, resembles });
  }

  private condition(row: Row, constants: readonly string[]): void {
    const { column } = row;
    const matches = (sign: Sign): boolean =>
      sign.sign === 'does' && sign.comment !== null && shows(sign.comment, constants);
    const known = ({ own }: { readonly own: Vocabulary }): boolean =>
      own.comments(column).some((comment) => shows(comment, constants));
    if (!known(this.meaning)) {
      const what = constants.join(' and ');
      if (this.meaning.others.some((own) => known({ own }))) {
        this.notes.push(`row ${row.n}: ${what} is never found in this variant; left out`);
        return;
      }
      this.unknown(row, what, `${column} never finds ${what} in anything that it reads`, null);
      return;
    }
    const title = `${constants.join(' | ')} in a value`;
    this.items.push({ row, title, column, matches, resembles: never });
  }

  private event(
    row: Row,
    { value, violation }: Extract<Cell, { is: 'event' }>,
    part: string,
    isLast: boolean,
  ): void {
    const { column } = row;
    const { own } = this.meaning;
    const flushed = /^(\w+)\(.*\) (reaches memory|is seen by others)$/.exec(part);
    const asked = flushed?.[2] ?? part;
    const known = [...own.events(column), ...own.comments(column).filter(isEffect)];
    if (!known.some((event) => abbreviates(asked, event))) {
      const meant = suggest(part, known);
      const list = known.map((event) => `<${event}>`).join(', ');
      const names = list === '' ? `nothing happens to ${column} by itself` : `there are ${list}`;
      if (meant !== null && this.meaning.fixTypos) {
        this.notes.push(`row ${row.n}: <${part}> read as <${meant}>`);
        this.event(row, { is: 'event', parts: [meant], value, violation }, meant, isLast);
      } else this.unknown(row, part, names, meant === null ? null : `<${meant}>`);
      return;
    }
    const own_value = isLast ? value : null;
    const own_violation = isLast ? violation : null;
    const resembles = (sign: Sign): boolean => {
      if (sign.sign !== 'does' || sign.ghost) return false;
      if (sign.event !== null && abbreviates(asked, sign.event)) return true;
      return sign.comment !== null && isEffect(sign.comment) && abbreviates(asked, sign.comment);
    };
    const matches = (sign: Sign): boolean =>
      resembles(sign) && fits(sign, { value: own_value, violation: own_violation, truth: null });
    this.items.push({ row, title: `<${part}>`, column, matches, resembles });
  }

  /** The functions of the variant that a name stands for: itself, an alias, with `fixTypos` what comes close. */
  private resolved(row: Row, name: string): string[] {
    const { own, fixTypos } = this.meaning;
    const { column } = row;
    if (this.knows(name, column)) return [name];
    if (this.isPlainHere(name, column) || this.isLacking(name, column)) return [];
    const known = own.functions(column);
    const alias = aliasesOf(name).find((other) => known.includes(other));
    if (alias !== undefined) return [alias];
    const meant = suggest(name, [...known, ...this.namesOfOthers(column)]);
    if (meant !== null && fixTypos) {
      this.notes.push(`row ${row.n}: ${name}() read as ${meant}()`);
      return this.resolved(row, meant);
    }
    const list = `${column} can execute ${shortList(
      known.map((each) => `${each}()`),
      meant,
    )}`;
    const elsewhere = own.elsewhere(name).filter((other) => other !== column);
    const where =
      elsewhere.length > 0 ? `${elsewhere.join(' and ')} executes it, ${column} does not` : list;
    this.unknown(row, name, where, meant === null ? null : `${meant}()`);
    return [];
  }

  private knows(name: string, column: string): boolean {
    return this.meaning.own.values(column, name) !== null;
  }

  private isPlainHere(name: string, column: string): boolean {
    return !this.knows(name, column) && isPlain(name, this.meaning.plainCalls);
  }

  /** Another variant has it in this column, and this one has not. */
  private isLacking(name: string, column: string): boolean {
    const { others } = this.meaning;
    return !this.knows(name, column) && others.some((other) => other.values(column, name) !== null);
  }

  private namesOfOthers(column: string): string[] {
    return this.meaning.others.flatMap((other) => other.functions(column));
  }

  /** A value that the function never gives in any run is a mistake, and no answer. */
  private isValue(row: Row, names: readonly string[], value: string): boolean {
    const { own } = this.meaning;
    const seen = names.flatMap((name) => own.values(row.column, name) ?? []);
    if (value === 'in the store buffer') return true;
    if (seen.some((comment) => sameValue(value, comment))) return true;
    // What a buffered store does is said where it reaches memory.
    if (own.comments(row.column).includes('in the store buffer') && seen.length === 0) return true;
    const list = [...new Set(seen)].map((each) => `'${each}'`).join(', ');
    const note = list === '' ? `${called(names)} shows no value` : `${called(names)} gives ${list}`;
    this.unknown(row, value, note, suggest(value, seen));
    return false;
  }

  private unknown(row: Row, typed: string, note: string, meant: string | null): void {
    const at = row.place.source.indexOf(typed, row.place.at - 1);
    const place = at < 0 ? row.place : { ...row.place, at: at + 1 };
    this.errors.push(
      new GracewalkError('E501', `'${typed}' in the question matches no step`, {
        quoted: quoted(this.meaning.name, place, typed, row),
        notes: [note],
        help:
          meant === null
            ? 'remarks go in [ brackets ]; `...` stands for anything'
            : `did you mean ${meant}?  --fix-typos takes such suggestions`,
      }),
    );
  }
}

function never(): boolean {
  return false;
}

/** `pteA freed`: what a step did to an object, which may be asked for as an event. */
function isEffect(comment: string): boolean {
  return /^\S+ (?:freed|unlinked|unmapped)$/.test(comment);
}

/**
 * R6: `foo()` begins and `foo();` has happened. Of a statement both are the one step; a function with a body
 * is entered by the first of its steps and has happened with the last.
 */
function isCall(sign: Sign, name: string, done: boolean): boolean {
  if (sign.sign === 'does') return !sign.ghost && sign.names.includes(name);
  return sign.name === name && sign.sign === (done ? 'returns' : 'enters');
}

interface Wanted {
  readonly value: string | null;
  readonly violation: string | null;
  readonly truth: boolean | null;
}

function fits(sign: Sign, { value, violation, truth }: Wanted): boolean {
  if (truth !== null && sign.sign !== 'enters') {
    if (sign.value !== undefined && isFalse(sign.value) === truth) return false;
  }
  if (sign.sign !== 'does') return value === null && violation === null;
  if (violation !== null && !sign.violations.includes(violation)) return false;
  return value === null || sign.buffered || sameValue(value, sign.comment);
}

function called(names: readonly string[], between = ' / '): string {
  return names.map((name) => `${name}()`).join(between);
}

function titleOf(names: readonly string[], done: boolean): string {
  return names
    .map((name) => `${name}()${done ? ';' : ''}`)
    .join(' / ')
    .replace(/;$/, '');
}

const MOST_NAMES = 8;

/** The names around what was meant, or the first ones. */
function shortList(names: readonly string[], meant: string | null): string {
  if (names.length === 0) return 'nothing';
  const at = Math.max(0, names.findIndex((name) => name === `${meant}()`) - MOST_NAMES / 2);
  const some = names.slice(at, at + MOST_NAMES);
  return `${at > 0 ? '..., ' : ''}${some.join(', ')}${at + MOST_NAMES < names.length ? ', ...' : ''}`;
}
