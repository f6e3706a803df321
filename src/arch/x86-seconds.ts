import type { ArchDescriptor, SecondStage } from '../machine/arch.ts';
import { ept_tables } from './ept.ts';
import { spteNotes } from './kvm-spte-notes.ts';
import { npt_tables } from './npt.ts';
import { machineOf } from './table-kind.ts';

/**
 * The tables that KVM on x86-64 gives its guests: EPT, EPT whose EPTP enables no accessed and dirty bits (KVM
 * then clears the permissions to learn of accesses), NPT, and shadow tables, which a processor without a
 * second stage walks as it walks its own.
 */
type Rest = Parameters<typeof machineOf>[1];

export function x86_seconds(own: ArchDescriptor, rest: Rest): readonly SecondStage[] {
  const ept = machineOf(ept_tables, rest);
  const without: SecondStage = {
    ...ept,
    name: 'ept_no_ad',
    title: 'Intel EPT without accessed and dirty bits',
    hardware: {
      accessed: 'never',
      dirty: 'never',
      tables: false,
      touch: (level, bits, { write }) => {
        const { present, writable } = ept.decode(level, bits);
        return !present || (write && !writable) ? null : bits;
      },
    },
  };
  const shadow: SecondStage = { ...own, name: 'shadow', title: `shadow tables, as ${own.title}` };
  return Object.freeze([ept, without, machineOf(npt_tables, rest), shadow].map(withNotes));
}

function withNotes(kind: SecondStage): SecondStage {
  return { ...kind, notes: (level, bits) => spteNotes(kind, level, bits) };
}
