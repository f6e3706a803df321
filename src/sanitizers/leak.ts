import type { ActorResult, Machine, Sanitizer } from '../machine/machine.ts';
import {
  ALLOCATED,
  FREE,
  PENDING,
  lifeGeneration,
  lifeState,
  type Page,
  type Word,
} from '../machine/memory.ts';
import { stageOf } from '../machine/stages.ts';
import { returnedClaims } from './claims.ts';

/**
 * Memory that nobody has any more. When everything is quiet, a live page table must be reachable from a
 * root, and a page's reference count must be what its holders explain: one per mapping, one per reference
 * that an actor returned (a pin of a small page is many), one per word of the kernel that holds it, and what
 * the scenario itself said it keeps.
 */
export const leak: Sanitizer = {
  name: 'leak',

  quiescence(machine, results) {
    const { cells, memory } = machine;
    const reached = reachedTables(machine);
    const mapped = mappings(machine, reached);
    const returned = returnedReferences(machine, results);
    const words = heldByWords(machine);
    for (const info of memory.frames.slice(1)) {
      const life = cells.peek(info.life);
      const state = lifeState(life);
      if (state !== ALLOCATED && state !== PENDING) continue;
      const isTable = cells.peek(info.level) >= 0;
      if (isTable) {
        if (!reached.has(info.index))
          complain(machine, info.name, 'a page table that no root reaches');
        continue;
      }
      const key = `${info.index}/${lifeGeneration(life)}`;
      const kept = (machine.objects.get(`kept:${info.index}`) as number | undefined) ?? 0;
      const explained =
        (mapped.get(info.index) ?? 0) +
        (returned.get(key) ?? 0) +
        (words.get(info.index) ?? 0) +
        kept;
      const pins = cells.peek(info.fields._pincount.cell);
      if (pins !== pinsOn(machine, results, info.index)) {
        complain(machine, info.name, `${pins} pins, which are not those that were returned`);
      }
      const count = cells.peek(info.refcount.cell);
      if (count > explained) {
        complain(machine, info.name, `${count} references, of which ${explained} have a holder`);
      } else if (count < explained) {
        machine.violate({
          kind: 'refcount',
          actor: 'everyone',
          object: info.name,
          message: `${info.name} has ${count} references for ${explained} holders.`,
          stops: false,
        });
      }
    }
  },
};

function complain(machine: Machine, object: string, what: string): void {
  machine.violate({
    kind: 'leak',
    actor: 'everyone',
    object,
    message: `${object} is left behind: ${what}.`,
    stops: false,
  });
}

/** Tables that a root of the scenario leads to. Roots are registered by the kernel layer's address spaces. */
function reachedTables(machine: Machine): Set<number> {
  const reached = new Set<number>();
  const visit = (frame: number): void => {
    if (reached.has(frame)) return;
    reached.add(frame);
    for (const entry of entriesOf(machine, frame)) if (entry.table) visit(entry.frame);
  };
  const { cells, memory } = machine;
  for (const root of (machine.objects.get('roots') as readonly number[] | undefined) ?? []) {
    if (lifeState(cells.peek(memory.info(root).life)) !== FREE) visit(root);
  }
  for (const frame of heldByWords(machine).keys()) visit(frame);
  return reached;
}

/** References that words of the kernel hold: a file's page cache, a huge page's deposited table. */
function heldByWords(machine: Machine): Map<number, number> {
  const counts = new Map<number, number>();
  for (const word of (machine.objects.get('holders') as readonly Word[] | undefined) ?? []) {
    const frame = Number(machine.memory.peekWide(word).bits);
    if (frame > 0) counts.set(frame, (counts.get(frame) ?? 0) + 1);
  }
  return counts;
}

function entriesOf(machine: Machine, frame: number): ReturnType<Machine['arch']['decode']>[] {
  const { arch, cells, memory } = machine;
  const level = cells.peek(memory.info(frame).level);
  if (level < 0) return [];
  return memory
    .wordsOf(frame)
    .map((address) => arch.decode(level, memory.peekWide(memory.at(address, 0)).bits))
    .filter((entry) => entry.present);
}

/** What every entry that a root leads to says. In final states. */
export function mappingEntries(machine: Machine): ReturnType<Machine['arch']['decode']>[] {
  const leads = [...reachedTables(machine)].flatMap((table) => entriesOf(machine, table));
  return leads.filter(({ table }) => !table);
}

/** Mappings that hold a reference each. Those of a hypervisor's tables hold none: notifiers remove them. */
function mappings(machine: Machine, tables: ReadonlySet<number>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const table of tables) {
    if (stageOf(machine.levelOf(table)) !== 0) continue;
    for (const entry of entriesOf(machine, table)) {
      if (!entry.table) counts.set(entry.frame, (counts.get(entry.frame) ?? 0) + 1);
    }
  }
  return counts;
}

/** A reference that an actor returned is held, not leaked. */
function returnedReferences(
  machine: Machine,
  results: readonly ActorResult[],
): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { actor, value } of results) {
    for (const page of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (
        typeof page !== 'object' ||
        page === null ||
        !('frame' in page) ||
        !('generation' in page)
      )
        continue;
      const key = `${String(page.frame)}/${String(page.generation)}`;
      counts.set(key, (counts.get(key) ?? 0) + weight(machine, actor.index, page as Page));
    }
  }
  return counts;
}

/** References that a pin of a page without a counter for pins stands for: GUP_PIN_COUNTING_BIAS. */
const PIN = 1024;

function weight(machine: Machine, actor: number, page: Page): number {
  const { PG_head } = machine.memory.info(page.frame).fields;
  if (machine.cells.peek(PG_head.cell) === 1) return 1;
  const isPin = returnedClaims(machine, actor).some(
    (claim) => claim.pin === true && claim.page.frame === page.frame,
  );
  return isPin ? PIN : 1;
}

/** Pins of a large page that actors returned: it has a counter of its own for them. */
function pinsOn(machine: Machine, results: readonly ActorResult[], frame: number): number {
  const { PG_head } = machine.memory.info(frame).fields;
  if (machine.cells.peek(PG_head.cell) === 0) return 0;
  return results.filter(
    ({ actor, value }) =>
      (value as Partial<Page> | null | undefined)?.frame === frame &&
      returnedClaims(machine, actor.index).some(
        (claim) => claim.pin === true && claim.page.frame === frame,
      ),
  ).length;
}
