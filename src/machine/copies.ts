import type { Machine } from './machine.ts';
import type { Word } from './memory.ts';

/** A word of which somebody keeps a copy, and what tells him that the copy is old. */
export interface Copy {
  readonly of: Word;
  readonly copy: Word;
  /** One of these says something else than 0 if the copy must be made again. */
  readonly told: readonly Word[];
}

export function copies(machine: Machine): Copy[] {
  let known = machine.objects.get('copies') as Copy[] | undefined;
  if (!known) machine.objects.set('copies', (known = []));
  return known;
}

/** From now on the copy must be what the word says, or it must be told. Before the first step. */
export function keepCopy(machine: Machine, of: Word, name: string, told: readonly Word[]): Word {
  const copy = machine.memory.at(machine.memory.reserve(8), 0, name);
  copies(machine).push({ of, copy, told });
  return copy;
}
