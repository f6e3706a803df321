import type { EntryNotes, SecondStage } from '../machine/arch.ts';
import { SPTE_MASKS, type SpteMasks } from './kvm-spte-masks.ts';

/**
 * What a diagram says of an entry of KVM's besides where it leads: `W A D`.
 *
 * Of permissions the strongest is named, because it comes with the weaker ones: W that the guest may write,
 * MMU_W that KVM may make it writable without a lock, HOST_W that the host lets it. One that should come with it
 * and does not is named with a `!` (check_spte_writable_invariants() of linux v6.12 arch/x86/kvm/mmu/spte.h).
 * A and D are hardware's marks; acc-track: no access is allowed, so that KVM learns of the next one.
 */
export function spteNotes(kind: SecondStage, level: number, bits: bigint): EntryNotes | null {
  const masks = SPTE_MASKS[kind.name];
  if (!masks || (bits & masks.present) === 0n) return null;
  const tracked = isTracked(masks, bits);
  const { present, table, frame } = kind.decode(level, tracked ? bits | masks.acc_track : bits);
  if (!present) return null;
  const words = table ? [] : [...permissions(masks, bits), ...marks(masks, bits)];
  return { frame, marks: [...words, ...(tracked ? ['acc-track'] : [])].join(' ') };
}

function isTracked({ acc_track, ad_disabled }: SpteMasks, bits: bigint): boolean {
  return acc_track !== 0n && (bits & acc_track) === 0n && (bits & ad_disabled) !== 0n;
}

function permissions(masks: SpteMasks, bits: bigint): string[] {
  const all = [
    ['W', masks.writable],
    ['MMU_W', masks.mmu_writable],
    ['HOST_W', masks.host_writable],
  ] as const;
  const strongest = all.findIndex(([, mask]) => (bits & mask) !== 0n);
  if (strongest < 0) return [];
  return all
    .slice(strongest)
    .flatMap(([name, mask], at) => (at === 0 ? [name] : (bits & mask) === 0n ? [`!${name}`] : []));
}

function marks({ accessed, dirty }: SpteMasks, bits: bigint): string[] {
  return [...((bits & accessed) === 0n ? [] : ['A']), ...((bits & dirty) === 0n ? [] : ['D'])];
}
