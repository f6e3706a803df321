import type { Citation, Fact } from '../base/citation.ts';
import type { TableKind } from './table-kind.ts';

/** A fact about an architecture and where it stands. */
export interface Cited {
  /** `x86_64`. */
  readonly kind: string;
  /** What is stated: a level, a field of an entry, a rule. */
  readonly what: string;
  readonly cite: Citation | undefined;
}

/** Everything that is stated about these tables. */
export function citationsOf(kind: TableKind): Cited[] {
  const list: Cited[] = [];
  const add = (what: string, cite: Citation | undefined): void => {
    list.push({ kind: kind.name, what, cite });
  };
  for (const level of kind.levels) add(`level ${level.name}`, level.cite);
  for (const it of [...kind.formats, ...kind.roots]) {
    const name = it.only === undefined ? it.name : `${it.name} (${it.only})`;
    add(name, it.cite);
    for (const field of it.fields) {
      if (field.cite !== undefined) add(`${name}: ${field.name}`, field.cite);
    }
  }
  const { waits, ...rules } = kind.rules;
  for (const { by, cite } of waits) add(`what ${by} waits for`, cite);
  for (const facts of Object.values<readonly Fact[]>(rules)) {
    for (const { says, cite } of facts) add(says, cite);
  }
  return list;
}
