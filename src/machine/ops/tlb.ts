import type { Machine } from '../machine.ts';
import type { Entry } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import type { InvalidationScope } from '../translations.ts';
import { asStored, follow, mayStore, storeEntry, type Place } from './entry-store.ts';
import { describeEntry } from './entry-text.ts';

/** Invalidation of translation caches, and what changes the address space a CPU translates through. */

const localOp = defineOp('invalidate_local', {
  ordering: 'full', // INVLPG, and a write to CR3, are serialising instructions
  exec: (m, who, args: ScopeArgs) => {
    m.translations.invalidate(who, m.cpu(who.cpu), scope(...args));
    return undefined;
  },
});

/** Which root's, which addresses, walk caches too? */
export type ScopeArgs = [
  root: number | null,
  start: number | null,
  end: number | null,
  tables: boolean,
  /** Leaf entries of this level only; of every level if there is no hint. */
  level?: number | null,
];

export function scope(...[root, start, end, tables, level = null]: ScopeArgs): InvalidationScope {
  return {
    tables,
    ...(level === null ? {} : { level }),
    ...(root === null ? {} : { root }),
    ...(start === null || end === null ? {} : { start, end }),
  };
}

/** Invalidates this CPU's translations in the scope: INVLPG, or a CR3 reload for all of them. */
export function* invalidate_local(...args: ScopeArgs): Steps<void> {
  yield* perform(localOp, args);
}

const broadcastIssueOp = defineOp('broadcast_issue', {
  ordering: 'full', // behind a barrier that makes the cleared entries visible first (DSB ISHST, ptesync)
  exec: (_m, _who, _args: ScopeArgs) => undefined,
});

const broadcastDoneOp = defineOp('broadcast_complete', {
  ordering: 'full', // DSB ISH, ptesync, TLBSYNC
  exec: (m, who, args: ScopeArgs) => {
    for (const cpu of m.cpus) m.translations.invalidate(who, cpu, scope(...args));
    return undefined;
  },
});

/** Issues a broadcast invalidation. Until it completes, other CPUs may go on using what it covers. */
export function* broadcast_issue(...args: ScopeArgs): Steps<void> {
  yield* perform(broadcastIssueOp, args);
}

/** Waits until the issued invalidation has taken effect on every CPU; none of them executes anything. */
export function* broadcast_complete(...args: ScopeArgs): Steps<void> {
  yield* perform(broadcastDoneOp, args);
}

const exchangeFlushOp = defineOp('xchg_entry_flush', {
  ordering: 'full', // IPTE serialises, and is over when every CPU has done its part
  exec: (m, who, [place, value, ...covered]: [Place, Entry, ...ScopeArgs]): Entry => {
    const word = m.memory.resolve(place);
    if (!follow(m, who, word) || !mayStore(m, who, word, value)) return m.memory.entry(0n, 0);
    const old = m.memory.loadWide(word);
    storeEntry(m, who, word, asStored(m, word, value));
    for (const cpu of m.cpus) m.translations.invalidate(who, cpu, scope(...covered));
    return old;
  },
  describe: (m, _who, _args, value) => ({ comment: describeEntry(m, value as Entry) }),
});

/** Replaces an entry and invalidates on every CPU what it led to: one instruction (s390's IPTE). */
export function* xchg_entry_flush(place: Place, value: Entry, ...covered: ScopeArgs): Steps<Entry> {
  return yield* perform(exchangeFlushOp, [place, value, ...covered]);
}

const loadRootOp = defineOp('load_root', {
  ordering: 'full', // a write to CR3 is a serialising instruction
  exec: (m, who, [root, flush, tag]: [number, boolean, number]) => {
    m.translations.loadRoot(who, m.cpu(who.cpu), root, flush, tag);
    return undefined;
  },
});

/**
 * Loads a page-table root (CR3, TTBR0) under a tag (PCID, ASID); with `flush`, drops what was cached under
 * that tag. Without a tag of its own an address space is told from others by its root.
 */
export function* load_root(root: number, flush: boolean, tag: number = root): Steps<void> {
  yield* perform(loadRootOp, [root, flush, tag]);
}

const lazyOp = defineOp('set_lazy', {
  ordering: 'none', // which code the CPU runs, not what it stores
  exec: (m, who, [lazy]: [boolean]) => {
    const cpu = m.cpu(who.cpu);
    m.cells.set(cpu.lazy, lazy ? 1 : 0);
    if (!lazy) m.translations.resumed(who, cpu);
    return undefined;
  },
});

/** Enters or leaves lazy TLB mode: the root stays loaded, no user code runs. */
export function* set_lazy(lazy: boolean): Steps<void> {
  yield* perform(lazyOp, [lazy]);
}

/** A translation that an operation has promised to be gone: where it came from and what it said. */
export interface Promised {
  readonly source: number;
  readonly bits: bigint;
}

const goneOp = defineOp('translations_gone', {
  ordering: 'none',
  exec: (m, who, [promised]: [readonly Promised[]]) => {
    for (const { source, bits } of promised) promiseGone(m, who.name, source, bits);
    return undefined;
  },
  describe: () => ({ comment: 'the flush has completed' }),
  ghost: true,
});

function promiseGone(m: Machine, actor: string, source: number, bits: bigint): void {
  const table = Math.floor(source / 4096);
  const { arch, cells, memory, translations } = m;
  const life = cells.get(memory.info(table).life); // its level and contents go with it
  const level = cells.peek(memory.info(table).level);
  if (level < 0) return;
  const { frame, present } = arch.decode(level, bits);
  if (!present) return;
  if (memory.loadWide(memory.at(source, life >> 2)).bits === bits) return; // mapped again meanwhile
  for (const cpu of m.walkers) {
    for (const t of translations.held(cpu, frame)) {
      if (t.source !== source || t.bits !== bits) continue;
      // A table is still there, empty: harm comes when it is freed, which is looked at then, or to user code.
      const used = translations.usable(cpu, t) && !(t.isTable && cells.get(cpu.lazy) === 1);
      if (!used) translations.doom(cpu, t);
      else {
        const { name } = memory.info(frame);
        m.violate({
          kind: 'stale-translation',
          actor,
          object: name,
          message: `${cpu.name} may still translate to ${name} after ${actor} has flushed that translation.`,
          stops: false,
        });
      }
    }
  }
}

const cachedOp = defineOp('translations_cached', {
  ordering: 'none',
  exec: (m, _who, [source]: [number]): readonly Promised[] => {
    const found = m.walkers.flatMap((cpu) =>
      m.translations.all(cpu).filter((t) => t.source === source),
    );
    const bits = [...new Set(found.map((t) => t.bits))].sort((a, b) =>
      a < b ? -1 : a > b ? 1 : 0,
    );
    return promises(
      m,
      bits.map((it) => ({ source, bits: it })),
    );
  },
  ghost: true,
});

/** Interned: what an actor receives must be the same object in every run. */
function promises(m: Machine, list: readonly Promised[]): readonly Promised[] {
  let known = m.objects.get('promises') as Map<string, readonly Promised[]> | undefined;
  if (!known) m.objects.set('promises', (known = new Map()));
  const key = list.map(({ source, bits }) => `${source}/${bits}`).join();
  const same = known.get(key);
  if (same) return same;
  const made = Object.freeze(list.map((it) => Object.freeze(it)));
  known.set(key, made);
  return made;
}

/** For the check: what any CPU may still have cached of the entry at `source`, which says something else now. */
export function* translations_cached(source: number): Steps<readonly Promised[]> {
  return yield* perform(cachedOp, [source]);
}

/**
 * A check, not an operation of the protocol: the flush that just completed promised that these cleared
 * entries are cached nowhere. A CPU that can still use one is a stale translation; one that cannot use it
 * now must invalidate it before it can.
 */
export function* translations_gone(promised: readonly Promised[]): Steps<void> {
  if (promised.length > 0) yield* perform(goneOp, [promised]);
}
