import type { Machine, UserStore } from './machine.ts';
import type { Word } from './memory.ts';

/** Addresses at which nothing that user code stores may be lost, and what it stored there last. */
export interface LastStore extends Omit<UserStore, 'bits'> {
  /** The value; its generation is 1 if there is one. */
  readonly word: Word;
}

/** By root and address: `7/4096`. */
export function lastStores(machine: Machine): Map<string, LastStore> {
  let known = machine.objects.get('last stores') as Map<string, LastStore> | undefined;
  if (!known) machine.objects.set('last stores', (known = new Map()));
  return known;
}

/** From now on what user code stores at the address must be there in the end. When the scenario begins. */
export function keepStores(machine: Machine, root: number, address: number): void {
  const name = `stored at 0x${address.toString(16)}`;
  const word = machine.memory.at(machine.memory.reserve(8), 0, name);
  lastStores(machine).set(`${root}/${address}`, { root, address, word });
}
