import type { Actor } from '../machine/actor.ts';
import { addressText, isOut, type Walker } from '../machine/cpu.ts';
import type { Machine, Sanitizer } from '../machine/machine.ts';
import { TORN } from '../machine/halves.ts';
import { FREE, lifeGeneration, lifeState } from '../machine/memory.ts';
import { stageOf } from '../machine/stages.ts';
import type { Translation } from '../machine/translations.ts';

/**
 * No translation cache may be able to use a frame that is not what it was (S1 of the specification).
 *
 * When a frame is freed, a translation that its CPU can use at that moment is a violation. One that it
 * cannot use (its vCPU is descheduled, its tag not loaded) is doomed instead; the violation is then the
 * CPU becoming able to use it before an invalidation. A tag that goes to another address space, with what is
 * still filed under it, is one too. Mapping a frame that is free is caught as well. The
 * other form, a translation that outlives the flush that promised it gone, is the op `translations_gone`.
 */
export const stale_translation: Sanitizer = {
  name: 'stale-translation',

  free(machine, who, frame) {
    for (const cpu of machine.walkers) {
      for (const t of machine.translations.held(cpu, frame)) {
        if (machine.translations.usable(cpu, t)) report(machine, who, cpu, t, 'freed while');
        else machine.translations.doom(cpu, t);
      }
      // No translation leads to a root, but a CPU that has it loaded may walk from it at any moment.
      if (stageOf(machine.levelOf(frame)) !== cpu.stage) continue;
      if (machine.cells.get(cpu.root) === frame && !isOut(machine.cells, cpu)) {
        reportRoot(machine, who.name, cpu, frame, 'freed while it is');
      }
    }
    return true;
  },

  resume(machine, who, cpu) {
    for (const t of machine.translations.all(cpu)) {
      if (!machine.translations.usable(cpu, t)) continue;
      if (t.doomed) report(machine, who, cpu, t, 'gone, yet');
      else if (machine.translations.isForeign(cpu, t)) reportForeign(machine, who, cpu, t);
    }
    const root = machine.cells.get(cpu.root);
    if (root === 0 || isOut(machine.cells, cpu)) return;
    const life = machine.cells.get(machine.memory.info(root).life);
    const same = lifeGeneration(life) === machine.cells.peek(cpu.rootGeneration);
    if (lifeState(life) === FREE || !same) reportRoot(machine, who.name, cpu, root, 'gone, yet');
  },

  reachable(machine, who, cpu, frame, generation) {
    if (generation === TORN) return; // nobody ever stored that: torn-entry
    const { life, name } = machine.memory.info(frame);
    const now = machine.cells.get(life);
    if (lifeState(now) !== FREE && lifeGeneration(now) === generation) return;
    machine.violate({
      kind: 'stale-translation',
      actor: who.name,
      object: name,
      message: `${who.name} maps ${name} for ${cpu.name} although it has been freed.`,
      stops: false,
    });
  },
};

function reportRoot(
  machine: Machine,
  actor: string,
  cpu: Walker,
  frame: number,
  how: string,
): void {
  const { name } = machine.memory.info(frame);
  machine.violate({
    kind: 'stale-translation',
    actor,
    object: name,
    message: `${name} is ${how} ${cpu.name}'s loaded root.`,
    stops: false,
  });
}

function reportForeign(machine: Machine, who: Actor, cpu: Walker, t: Translation): void {
  const { name } = machine.memory.info(t.frame);
  const root = (frame: number): string => machine.memory.info(frame).name;
  const now = root(machine.cells.get(cpu.root));
  machine.violate({
    kind: 'stale-translation',
    actor: who.name,
    object: name,
    message: `${cpu.name} translates by ${now} under a tag of ${root(t.root)}, whose translation to ${name} it may still hold.`,
    stops: false,
  });
}

function report(machine: Machine, who: Actor, cpu: Walker, t: Translation, how: string): void {
  const { name } = machine.memory.info(t.frame);
  const cache = t.isTable ? 'walk cache still leads to table' : 'TLB may still map';
  machine.violate({
    kind: 'stale-translation',
    actor: who.name,
    object: name,
    message: `${name} is ${how} ${cpu.name}'s ${cache} ${t.isTable ? name : `${addressText(cpu, t.base)} to it`}.`,
    stops: false,
  });
}
