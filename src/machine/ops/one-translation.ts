import type { Walker } from '../cpu.ts';
import type { Machine } from '../machine.ts';
import type { Entry, EntryPointer } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { levelAt, stageOf } from '../stages.ts';
import type { Translation } from '../translations.ts';

/**
 * A check, not an operation: while a leaf entry maps an address, no walker of the tables from `root` holds
 * another translation of it that it can use (another page, or the same in another size), nor leads below the
 * entry. An entry that says something else by now is not judged. What a walker cannot use now (its guest is not
 * running) is not judged either: a run in which it can is another one of the same exploration.
 */
type Args = readonly [root: number, place: EntryPointer, leaf: Entry, address: number];

const oneOp = defineOp('one_translation', {
  ordering: 'none',
  exec: (m, who, [root, place, leaf, address]: Args) => {
    const word = m.memory.resolve(place);
    if (m.dangles(word.frame, word.generation)) return undefined;
    const now = m.memory.loadWide(word);
    if (!now.present || now.table || now.frame !== leaf.frame) return undefined;
    const level = m.levelOf(word.frame);
    for (const walker of m.walkers) {
      if (walker.stage !== stageOf(level)) continue;
      for (const t of m.translations.all(walker)) {
        if (t.root === root && differs(m, t, level, leaf, address))
          judge(m, who.name, walker, t, leaf, level);
      }
    }
    return undefined;
  },
  ghost: true,
});

/** Is it another translation of what the leaf entry of `level` maps at `address`? */
function differs(
  m: Machine,
  t: Translation,
  level: number,
  { frame, generation }: Entry,
  address: number,
): boolean {
  const end = (base: number, at: number): number => base + 2 ** levelAt(m.arch, at).shift;
  if (t.base >= end(address, level) || address >= end(t.base, t.level)) return false;
  if (t.isTable) return t.level <= level;
  return t.frame !== frame || t.generation !== generation || t.level !== level;
}

function judge(
  m: Machine,
  actor: string,
  walker: Walker,
  t: Translation,
  leaf: Entry,
  level: number,
): void {
  if (!m.translations.usable(walker, t)) return;
  const [old, now] = [m.memory.info(t.frame).name, m.memory.info(leaf.frame).name];
  const as = ({ level }: { readonly level: number }): string =>
    `${2 ** (levelAt(m.arch, level).shift - 10)} KiB`;
  const held = t.isTable ? `walk cache leads to ${old}` : `TLB has ${old} there, as ${as(t)}`;
  m.violate({
    kind: 'property',
    actor,
    object: now,
    message: `Two translations at once: ${actor} maps ${now} at 0x${t.base.toString(16)}, as ${as({ level })}, while ${walker.name}'s ${held}.`,
    stops: false,
  });
}

/** `leaf` has been stored to `place`, which maps `address` and what follows: is it the only translation? */
export function* one_translation(
  root: number,
  place: EntryPointer,
  leaf: Entry,
  address: number,
): Steps<void> {
  yield* perform(oneOp, [root, place, leaf, address]);
}
