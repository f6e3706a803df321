import { GracewalkError } from '../base/errors.ts';
import type { ArchDescriptor, SecondStage, TableLevel } from './arch.ts';

/**
 * Tables of several kinds in one memory.
 *
 * A machine's own processors walk tables of one kind; a hypervisor makes tables of further kinds for its guests.
 * What a frame holds is told by its level alone: levels 0 to 15 are the machine's own, and each kind of
 * `arch.seconds` has the next sixteen. So every function that asks for the meaning of an entry at a level
 * gets the right one, and none of them knows that there are several kinds.
 */

/** Levels per kind. */
export const STAGE = 16;

/** Which kind of tables a level belongs to: 0 for the machine's own, n for `arch.seconds[n - 1]`. */
export function stageOf(level: number): number {
  return level < STAGE ? 0 : Math.floor(level / STAGE);
}

/** The number of the kind called `name` (`ept`, `npt`, `shadow`). */
export function stageNamed(arch: ArchDescriptor, name: string): number {
  const at = arch.seconds?.findIndex((kind) => kind.name === name) ?? -1;
  if (at >= 0) return at + 1;
  const names = arch.seconds?.map((kind) => kind.name) ?? [];
  throw new GracewalkError('E130', `a hypervisor on ${arch.title} has no ${name} tables`, {
    notes: [names.length === 0 ? 'it has none that we know' : `it has ${names.join(', ')}`],
    help: 'use x86_64, whose hypervisor has ept, ept_no_ad, npt and shadow',
  });
}

export function levelAt(arch: ArchDescriptor, level: number): TableLevel {
  const kind = level < STAGE ? arch : arch.seconds?.[stageOf(level) - 1];
  const found = kind?.levels[level % STAGE];
  if (!found) throw new RangeError(`${arch.name} has no level ${level}`);
  return found;
}

/** The descriptor that answers for levels of every kind. */
export function withStages(own: ArchDescriptor): ArchDescriptor {
  const { seconds } = own;
  if (!seconds) return own;
  const kind = (level: number): SecondStage =>
    level < STAGE ? own : (seconds[stageOf(level) - 1] as SecondStage);
  return Object.freeze({
    ...own,
    decode: (level, bits) => kind(level).decode(level % STAGE, bits),
    none: (level) => kind(level).none(level % STAGE),
    table: (level, frame) => kind(level).table(level % STAGE, frame),
    leaf: (level, frame, permissions) => kind(level).leaf(level % STAGE, frame, permissions),
    change: (level, bits, marks) => kind(level).change(level % STAGE, bits, marks),
    notes: (level, bits) => kind(level).notes?.(level % STAGE, bits) ?? null,
    hardware: {
      ...own.hardware,
      touch: (level, bits, access) => kind(level).hardware.touch(level % STAGE, bits, access),
    },
  } satisfies ArchDescriptor);
}
