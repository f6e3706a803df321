import { GracewalkError, type Site } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';

/** How a scenario is refused: what, where, why, and what to write instead. */
export function refuse(
  code: string,
  what: string,
  site: Site | undefined,
  notes: string[],
  help: string,
): never {
  throw new GracewalkError(code, what, { site, notes, help });
}

export function thereAre(names: readonly string[]): string {
  return `${names.length === 1 ? 'is' : 'are'} ${names.map((name) => `'${name}'`).join(', ')}`;
}

export function didYouMean(typed: string | undefined, names: readonly string[]): string | null {
  const meant = typed === undefined ? null : suggest(typed, names);
  return meant === null ? null : `did you mean '${meant}'?`;
}
