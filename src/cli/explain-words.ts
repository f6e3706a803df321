import type { ViolationKind } from '../machine/violation.ts';

/** Meanings of what a verdict says: the kinds of violation, and the verdicts themselves. */
export interface Meaning {
  readonly says: string;
  /** What to look at when it happens. */
  readonly look: string;
}

export const VIOLATION_MEANINGS: Readonly<Record<ViolationKind, Meaning>> = {
  'use-after-free': {
    says: 'An access through a pointer to a page, page table or slab object whose frame has been freed, or has been freed and handed out again since the pointer was made.',
    look: 'What should have kept the owner from freeing: a reference, a read-side section, interrupts off, a lock.',
  },
  'null-dereference': {
    says: 'An access through a pointer that is NULL, or through an entry that is empty.',
    look: 'A pointer that is loaded twice: once to see that it is there, and once to use it.',
  },
  'double-free': {
    says: 'A page, table or object is freed that is free already.',
    look: 'Two owners, or a reference that was dropped twice.',
  },
  'stale-translation': {
    says: 'A page or page table is freed while some CPU may still translate through a TLB or walk-cache entry that leads to it; or such an entry becomes usable later without an invalidation in between.',
    look: 'The flush between clearing the entry and freeing: is it there, does it reach every CPU, does it cover walk caches?',
  },
  'torn-entry': {
    says: 'A page-table entry read in two halves of which one is older than the other.',
    look: 'The order of the two loads and a re-read of the first.',
  },
  'lost-write': {
    says: 'A store to a page or an entry is overwritten by somebody who had not seen it; or what was written through a reference is not what the address shows in the end, or is thrown away; or a pinned page is shared.',
    look: 'A read and a write where one atomic step is needed; references that are looked at too early.',
  },
  'lost-dirty': {
    says: 'A dirty mark that hardware set is gone although the page was written.',
    look: 'An entry that is cleared or changed by a plain store instead of an exchange.',
  },
  'wrong-page': {
    says: 'A lockless lookup returns a page that was not mapped there at any moment of the lookup, or takes a page for a page table.',
    look: 'The re-check after the reference was taken, and that each entry is read once.',
  },
  refcount: {
    says: 'A reference count goes below zero, or is raised from zero.',
    look: 'An increment that does not insist on a count above zero.',
  },
  leak: {
    says: 'When everybody has finished, a live page table that no root reaches, or a page whose count nobody explains.',
    look: 'An early return, or a table that is unlinked and not freed.',
  },
  deadlock: {
    says: 'Nobody can go on, and somebody has not finished. The diagram says who waits for what.',
    look: 'Locks in two orders; an interrupt that is waited for with interrupts off; a grace period inside a read-side section.',
  },
  livelock: {
    says: 'Somebody goes round a loop that starts again, learns the same each time, and nobody is left who could change it.',
    look: 'A count that is never taken back, or a round that holds what the others wait for.',
  },
  'sleep-in-atomic': {
    says: 'Something that may sleep with interrupts or preemption off, under a spinning lock or in a read-side section.',
    look: 'The section around it, or an allocation that may wait.',
  },
  'lock-order': {
    says: 'Two locks are taken in both orders, though no run of this scenario stops there.',
    look: 'The documented order of the two.',
  },
  'lock-leak': {
    says: 'An actor ends with a lock held or preemption off, or undoes what it never did.',
    look: 'An early return, or an unlock in the wrong place.',
  },
  'irq-leak': {
    says: 'An actor ends with interrupts off.',
    look: 'local_irq_save() without local_irq_restore() on one of the ways out.',
  },
  'rcu-misuse': {
    says: 'A read-side section that is left open, closed without being open, or waited for from inside.',
    look: 'rcu_read_lock() and rcu_read_unlock() on every way out.',
  },
  'unordered-access': {
    says: 'Two accesses to a word of which one writes, that nothing orders and that are not marked.',
    look: 'READ_ONCE(), WRITE_ONCE(), or a lock around both.',
  },
  property: {
    says: 'A predicate under `always` does not hold in some state between two steps.',
    look: 'The last step in the diagram that writes a word which the predicate reads.',
  },
};

export const VERDICT_MEANINGS: Readonly<Record<string, string>> = {
  safe: 'Every run was explored, up to the order of independent steps; nothing was found; and everything under `sometimes` was seen. Exit code 0 if declared.',
  fails:
    'Some run violates something. The diagram shows the one with the fewest context switches, then steps.',
  vacuous:
    'Nothing was found, but something that must be seen never was, or a patched function is never called: the check says nothing about it. Exit code 4.',
  inconclusive:
    'A limit, the bound of a loop, or Ctrl-C ended the search; nothing is known of the rest. Exit code 3.',
};
