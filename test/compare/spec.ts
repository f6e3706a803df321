import type { FolioStep } from './folio.ts';
import type { GuestStmt } from './guests.ts';
import type { Half } from '../../src/machine/arch.ts';
import type { MemoryModel } from '../../src/machine/store-buffers.ts';

/**
 * Generated programs as data: they can be printed, shrunk and built again for each engine. `build.ts` gives
 * them their meaning, `generate.ts` makes them up.
 */

/** A number that an actor computes: a constant, or what it received last plus a constant (modulo 4). */
export interface Value {
  readonly received: boolean;
  readonly plus: number;
}

/** Conditions of waiting, over the values of one to three words; they stop reading as soon as they can. */
export type Condition = 'all-nonzero' | 'all-zero' | 'any-nonzero' | 'equal' | 'sum' | 'above';

/** One instruction of a step that does several things at once. `t` is the step's own variable. */
export type Micro =
  | { readonly do: 'read'; readonly word: number }
  | { readonly do: 'write'; readonly word: number; readonly plus: number }
  | { readonly do: 'update'; readonly word: number }
  | { readonly do: 'read-at'; readonly plus: number }
  | { readonly do: 'write-at'; readonly plus: number }
  | { readonly do: 'skip-if-zero' }
  | { readonly do: 'outcome' };

export type LockMode = 'spin' | 'mutex' | 'read' | 'write' | 'try';

/** What an entry of a page table is set to. */
export type Target =
  | { readonly to: 'none' }
  | {
      readonly to: 'frame';
      readonly frame: string;
      /** A leaf of an upper table; marked as accessed and dirty. */
      readonly huge?: boolean;
      readonly marked?: boolean;
    };

export interface Scope {
  readonly root: string | null;
  /** Restrict to the address of this entry. */
  readonly entry: number | null;
  readonly tables: boolean;
}

export type SlabName = 'A' | 'B' | 'own';

export type Stmt =
  | { readonly op: 'read'; readonly word: number }
  | { readonly op: 'write'; readonly word: number; readonly value: Value }
  | { readonly op: 'xchg'; readonly word: number; readonly value: Value }
  | { readonly op: 'add'; readonly word: number; readonly value: Value }
  | { readonly op: 'cas'; readonly word: number; readonly old: number; readonly value: Value }
  | { readonly op: 'add-unless'; readonly word: number; readonly unless: number }
  | { readonly op: 'mb' }
  | { readonly op: 'if'; readonly body: readonly Stmt[]; readonly otherwise: readonly Stmt[] }
  | { readonly op: 'choose'; readonly options: number }
  | { readonly op: 'assume-nonzero' }
  | { readonly op: 'bound' }
  | {
      readonly op: 'lock';
      readonly mode: LockMode;
      readonly lock: number;
      readonly body: readonly Stmt[];
    }
  | { readonly op: 'unlock'; readonly lock: number }
  | { readonly op: 'wait'; readonly words: readonly number[]; readonly condition: Condition }
  | { readonly op: 'join'; readonly actor: number }
  | {
      readonly op: 'several';
      readonly guard: { readonly words: readonly number[]; readonly condition: Condition } | null;
      readonly outcomes: number | null;
      readonly body: readonly Micro[];
    }
  // frames and pointers to them
  | { readonly op: 'alloc'; readonly recycle: boolean; readonly level: number }
  | { readonly op: 'publish'; readonly pointer: number }
  | { readonly op: 'fetch'; readonly pointer: number }
  | { readonly op: 'swap-pointer'; readonly pointer: number }
  | { readonly op: 'deref-read' }
  | { readonly op: 'deref-write'; readonly value: Value }
  | { readonly op: 'free' }
  | { readonly op: 'free-named'; readonly frame: string }
  | { readonly op: 'pending' }
  | { readonly op: 'foreign'; readonly count: number }
  // processors
  | { readonly op: 'irq-off'; readonly body: readonly Stmt[] }
  | { readonly op: 'irq-save' }
  | { readonly op: 'preempt-off'; readonly body: readonly Stmt[] }
  | { readonly op: 'ipi'; readonly cpu: number; readonly handler: number; readonly wait: boolean }
  // translation
  | { readonly op: 'read-entry'; readonly entry: number }
  | { readonly op: 'set-entry'; readonly entry: number; readonly target: Target }
  | {
      /** Reads an entry, takes a reference on what it maps, claims that it is mapped there. */
      readonly op: 'lookup';
      readonly entry: number;
      readonly root: string;
      readonly address: number;
      readonly body: readonly Stmt[];
    }
  | { readonly op: 'put-ref' }
  /** With the page that the last lookup returned, or with P; `suspend` with the entry. */
  | { readonly op: 'folio'; readonly what: FolioStep; readonly entry: number }
  | { readonly op: 'map-page'; readonly entry: number }
  | {
      readonly op: 'xchg-entry';
      readonly entry: number;
      readonly target: Target;
      /** And with it what it covers is invalidated. */
      readonly flush?: Scope;
    }
  // the same by halves, where the machine has them
  | { readonly op: 'read-halves'; readonly entry: number; readonly first: Half }
  | {
      readonly op: 'write-half' | 'xchg-low';
      readonly entry: number;
      readonly half: Half;
      readonly target: Target;
    }
  | { readonly op: 'invalidate'; readonly scope: Scope }
  | { readonly op: 'broadcast'; readonly scope: Scope }
  | {
      readonly op: 'load-root';
      readonly root: string | null;
      readonly flush: boolean;
      /** Shared between roots; without it a root is its own tag. */
      readonly tag?: number;
    }
  | { readonly op: 'lazy'; readonly on: boolean }
  | { readonly op: 'gone' }
  /** Takes the accessed mark off an entry, by a load and a store. */
  | { readonly op: 'age'; readonly entry: number }
  /** The disk stores what was received last as the contents of a page. */
  | { readonly op: 'write-disk'; readonly page: string }
  | {
      /** User code: a store of `value`, or a load. */
      readonly op: 'access';
      readonly root: string;
      readonly address: number;
      readonly value: Value | null;
    }
  | { readonly op: 'sched-out'; readonly cpu: number }
  | { readonly op: 'flush-guest'; readonly cpu: number }
  | { readonly op: 'vm-entry'; readonly cpu: number }
  | { readonly op: 'guest-root'; readonly cpu: number }
  // RCU
  | { readonly op: 'rcu'; readonly body: readonly Stmt[] }
  | { readonly op: 'rcu-unlock' }
  | { readonly op: 'call-rcu'; readonly handler: number }
  | { readonly op: 'synchronize' }
  // SRCU: two domains; sections end by index, also out of turn
  | { readonly op: 'srcu'; readonly domain: number; readonly body: readonly Stmt[] }
  | { readonly op: 'srcu-lock'; readonly domain: number }
  | { readonly op: 'srcu-unlock'; readonly domain: number }
  | { readonly op: 'call-srcu'; readonly domain: number; readonly handler: number }
  | { readonly op: 'synchronize-srcu'; readonly domain: number }
  // guests with tables of their own
  | GuestStmt
  // a loop that starts again until the condition holds
  | {
      readonly op: 'retry';
      /** Written out as so many rounds, runs with more of them left out. */
      readonly rounds?: number;
      readonly words: readonly number[];
      readonly condition: Condition;
      readonly body: readonly Stmt[];
    }
  // RCU with the grace-period machine
  | { readonly op: 'tree-call-rcu'; readonly handler: number }
  | { readonly op: 'tree-synchronize' }
  // slab objects: `object` is A or B, or the one allocated last
  | { readonly op: 'slab-alloc' }
  | { readonly op: 'slab-free'; readonly object: SlabName }
  | { readonly op: 'slab-read'; readonly object: SlabName }
  | { readonly op: 'slab-write'; readonly object: SlabName; readonly value: Value }
  // observers
  | {
      readonly op: 'observe';
      readonly words: readonly number[];
      readonly condition: Condition;
      readonly as: 'always' | 'sometimes';
    };

export type SrcuStmt = Extract<
  Stmt,
  { readonly op: 'srcu' | 'srcu-lock' | 'srcu-unlock' | 'call-srcu' | 'synchronize-srcu' }
>;

export type SlabStmt = Extract<
  Stmt,
  { readonly op: 'slab-alloc' | 'slab-free' | 'slab-read' | 'slab-write' }
>;

export interface ActorSpec {
  /** -1: an actor that no CPU executes. */
  readonly cpu: number;
  readonly kind: 'task' | 'host' | 'observer';
  readonly shared: boolean;
  readonly daemon: boolean;
  readonly body: readonly Stmt[];
}

/** After every step of `actor`: a violation if the condition holds of the words. */
export interface CheckSpec {
  readonly actor: number;
  readonly words: readonly number[];
  readonly condition: Condition;
}

export interface Spec {
  readonly family: string;
  readonly model: MemoryModel;
  readonly words: readonly number[];
  /** How many locks there are, and how many words for pointers to frames. */
  readonly locks: number;
  readonly pointers: number;
  readonly cpus: readonly { readonly virtual: boolean; readonly root: string | null }[];
  readonly actors: readonly ActorSpec[];
  /** There are the domains of SRCU. */
  readonly srcu?: boolean;
  /** There are guests with tables of their own. */
  readonly walkers?: boolean;
  /** Entries are read and written by halves. */
  readonly split?: boolean;
  /** No store of user code may be lost: pages are those of files. */
  readonly keeps?: boolean;
  /** There is a cache, with objects A and B allocated; is it type-stable? */
  readonly slab?: { readonly typesafe: boolean };
  /** Bodies of interrupt handlers and RCU callbacks. */
  readonly handlers: readonly (readonly Stmt[])[];
  readonly checks: readonly CheckSpec[];
  /** Entries of the page tables that are set at the start: index in ENTRIES, frame. */
  readonly mapped: readonly (readonly [entry: number, frame: string])[];
  /** What the words for pointers point to at the start: frames, or nothing. */
  readonly pointing: readonly (string | null)[];
}

/** The page tables of the test: two roots, two leaf tables, two pages. */
export const TABLES: readonly { readonly name: string; readonly level: number }[] = [
  { name: 'R', level: 1 },
  { name: 'S', level: 1 },
  { name: 'T', level: 0 },
  { name: 'U', level: 0 },
];
export const PAGES: readonly string[] = ['P', 'Q'];
/** Entries that programs use: [table, index]. */
export const ENTRIES: readonly (readonly [string, number])[] = [
  ['R', 0],
  ['R', 1],
  ['S', 0],
  ['T', 0],
  ['T', 1],
  ['U', 0],
];

function value({ received, plus }: Value): string {
  if (!received) return String(plus);
  return plus === 0 ? 'r' : `r+${plus}`;
}

function entry(at: number): string {
  const [table, index] = ENTRIES[at] ?? ['?', 0];
  return `${table}[${index}]`;
}

function targetName(target: Target): string {
  if (target.to === 'none') return 'none';
  return `${target.frame}${target.huge ? ' huge' : ''}${target.marked ? ' marked' : ''}`;
}

function plain(item: unknown): string {
  if (item === null || item === undefined) return 'none';
  if (Array.isArray(item)) return `[${item.map(plain).join(' ')}]`;
  if (typeof item !== 'object') return JSON.stringify(item).replaceAll('"', '');
  if ('received' in item && 'plus' in item) return value(item as Value);
  if ('to' in item) return 'frame' in item ? targetName(item as Target) : 'none';
  return `{${Object.entries(item)
    .map(([name, part]) => `${name}:${plain(part)}`)
    .join(' ')}}`;
}

function lines(body: readonly Stmt[], indent: string): string[] {
  return body.flatMap((stmt) => {
    const parts: string[] = [stmt.op];
    const nested: string[] = [];
    for (const [name, item] of Object.entries(stmt) as [string, unknown][]) {
      if (name === 'op') continue;
      if ((name === 'body' && stmt.op !== 'several') || name === 'otherwise') {
        if ((item as Stmt[]).length > 0 && name === 'otherwise') nested.push(`${indent}else`);
        nested.push(...lines(item as Stmt[], `${indent}  `));
      } else if (name === 'entry') parts.push(entry(item as number));
      else parts.push(`${name}=${plain(item)}`);
    }
    return [indent + parts.join(' '), ...nested];
  });
}

/** The program for people. */
export function text(spec: Spec): string {
  const out = [
    `family ${spec.family}, ${spec.model}; words ${spec.words.join(' ')}; locks ${spec.locks}`,
    `cpus ${spec.cpus.map((cpu) => `${cpu.virtual ? 'virtual' : 'real'}:${cpu.root ?? 'none'}`).join(' ')}`,
  ];
  if (spec.pointers > 0) out.push(`pointers ${plain(spec.pointing)}`);
  if (spec.mapped.length > 0) {
    out.push(`mapped ${spec.mapped.map(([at, frame]) => `${entry(at)}->${frame}`).join(' ')}`);
  }
  spec.actors.forEach((actor, at) => {
    const flags = `${actor.shared ? ' shared' : ''}${actor.daemon ? ' daemon' : ''}`;
    out.push(`actor ${at} (${actor.kind}, cpu ${actor.cpu}${flags}):`, ...lines(actor.body, '  '));
  });
  spec.handlers.forEach((body, at) => out.push(`handler ${at}:`, ...lines(body, '  ')));
  for (const check of spec.checks) {
    out.push(`check after actor ${check.actor}: ${check.condition} of ${check.words.join(' ')}`);
  }
  return out.join('\n');
}
