import { GracewalkError } from '../base/errors.ts';
import type { Schedule } from '../explore/run.ts';
import type { Actor } from '../machine/actor.ts';

/**
 * Replay tokens: `scenario/variant@fingerprint/1.a5-k3.hA2-9f.b3+1-x0`.
 *
 * The schedule is run-length coded in segments separated by dots. A segment is an actor, how many steps it
 * takes, the outcome of the last of them if it is not the first (`+1`), and two characters of a hash of
 * the steps' names, so that a token that no longer fits says where.
 *
 *     a, b, c, ...   tasks in scenario order (without h, i, r, o, s)
 *     hA, hB, ...    hosts, in scenario order
 *     iA, iB, ...    interrupt handlers, in the order in which this run creates them
 *     rA, rB, ...    RCU callbacks, likewise
 *     oA             the observer of a state predicate
 *     sA, sB, ...    store buffers, in the order of the CPUs
 *
 * `1.` is the version of this format. Decoders of old versions are never removed.
 */
export const TOKEN_VERSION = 1;

const TASKS = 'abcdefgjklmnpqtuvwxyz';
const KIND_LETTERS: Readonly<Record<string, Actor['kind']>> = {
  h: 'host',
  i: 'irq',
  r: 'softirq',
  o: 'observer',
  s: 'buffer',
};

export interface Segment {
  readonly kind: Actor['kind'];
  /** Ordinal among the actors of its kind, in order of creation. */
  readonly ordinal: number;
  readonly count: number;
  readonly outcome: number;
  readonly hash: string;
}

function actorCode(kind: Actor['kind'], ordinal: number): string {
  if (kind === 'task') return TASKS[ordinal] ?? '?';
  const letter = Object.keys(KIND_LETTERS).find((key) => KIND_LETTERS[key] === kind) ?? '?';
  return letter + String.fromCharCode(65 + ordinal);
}

/** Two characters that change when the names of the steps do. */
export function hashNames(names: readonly string[]): string {
  let hash = 0x811c9dc5;
  for (const name of names) {
    for (let at = 0; at < name.length; at++)
      hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
    hash = Math.imul(hash ^ 0x2f, 0x01000193);
  }
  return ((hash >>> 0) % 1296).toString(36).padStart(2, '0');
}

/** What a schedule's actors are, in its run: kind and ordinal of each index. */
export type ActorIdentity = (index: number) => { kind: Actor['kind']; ordinal: number };

export function encodeSchedule(
  schedule: Schedule,
  names: readonly string[],
  identity: ActorIdentity,
): string {
  const parts: string[] = [String(TOKEN_VERSION)];
  let start = 0;
  schedule.actors.forEach((actor, at) => {
    const outcome = schedule.outcomes[at] as number;
    if (schedule.actors[at + 1] === actor && outcome === 0) return;
    const { kind, ordinal } = identity(actor);
    const chosen = outcome === 0 ? '' : `+${outcome}`;
    const hash = hashNames(names.slice(start, at + 1));
    parts.push(`${actorCode(kind, ordinal)}${at + 1 - start}${chosen}-${hash}`);
    start = at + 1;
  });
  return parts.join('.');
}

function malformed(text: string, part: string): GracewalkError {
  return new GracewalkError('E601', `'${part}' is no part of a replay token`, {
    notes: [`in the schedule ${text}`],
    help: 'copy the token whole, as `check` printed it behind "Replay: gracewalk replay"',
  });
}

/** Parses the schedule part of a token. */
export function decodeSchedule(text: string): readonly Segment[] {
  const [version, ...parts] = text.split('.');
  if (version !== String(TOKEN_VERSION)) {
    throw new GracewalkError(
      'E601',
      `this version of gracewalk does not read token format '${version ?? ''}'`,
      {
        notes: [`it reads version ${TOKEN_VERSION}`],
        help: 'run `check` again for a new token',
      },
    );
  }
  return parts.map((part): Segment => {
    const match = /^(?:([a-gj-np-qt-z])|([hiros])([A-Z]))(\d+)(?:\+(\d+))?-([0-9a-z]{2})$/.exec(
      part,
    );
    if (!match) throw malformed(text, part);
    const [, task, letter, ordinal, count, outcome, hash] = match;
    return {
      kind: task === undefined ? (KIND_LETTERS[letter ?? ''] ?? 'task') : 'task',
      ordinal: task === undefined ? (ordinal ?? 'A').charCodeAt(0) - 65 : TASKS.indexOf(task),
      count: Number(count),
      outcome: Number(outcome ?? 0),
      hash: hash ?? '',
    };
  });
}

export interface Token {
  readonly scenario: string;
  /** Variant name without spaces. */
  readonly variant: string;
  readonly fingerprint: string;
  readonly schedule: string;
}

export function formatToken({ scenario, variant, fingerprint, schedule }: Token): string {
  return `${scenario}/${variant.replaceAll(' ', '')}@${fingerprint}/${schedule}`;
}

export function parseToken(text: string): Token {
  const match = /^([^/]+)\/([^@/]+)@([0-9a-f]{6})\/(\d+(?:\..*)?)$/.exec(text.trim());
  if (!match) {
    throw new GracewalkError('E601', `'${text}' is no replay token`, {
      notes: ['a token looks like pv-tlb-flush/pv,norcu@b3c9f1/1.a5-k3.b7-0f'],
      help: 'copy the token whole, as `check` printed it behind "Replay: gracewalk replay"',
    });
  }
  const [, scenario = '', variant = '', fingerprint = '', schedule = ''] = match;
  return { scenario, variant, fingerprint, schedule };
}
