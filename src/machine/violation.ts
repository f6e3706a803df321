/** What can go wrong: one closed list, used by sanitizers, `fails(...)`, reports and documentation alike. */
export const VIOLATION_KINDS = [
  'use-after-free',
  'null-dereference',
  'double-free',
  'stale-translation',
  'torn-entry',
  'lost-write',
  'lost-dirty',
  'wrong-page',
  'refcount',
  'leak',
  'deadlock',
  'livelock',
  'sleep-in-atomic',
  'lock-order',
  'lock-leak',
  'irq-leak',
  'rcu-misuse',
  'unordered-access',
  'property',
] as const;

export type ViolationKind = (typeof VIOLATION_KINDS)[number];

export interface Violation {
  readonly kind: ViolationKind;
  /** Who committed it: an actor's name. */
  readonly actor: string;
  /** The object it is about, as the scenario names it (`pteA`, `X`). */
  readonly object: string;
  /** One sentence, lockdep's footer: "vCPU0 reads page table pteA after vCPU1 has freed it." */
  readonly message: string;
  /** The actor's further steps would mean nothing; it stops, the others run on. */
  readonly stops: boolean;
}
