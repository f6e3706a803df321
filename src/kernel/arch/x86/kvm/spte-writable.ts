import { STAGE } from '../../../../machine/stages.ts';
import type { Kvm, Spte } from '../../../virt/kvm/types.ts';
import { masks_of } from './spte.ts';

/** Entries with the permission to write, and without: of the same page. */

function with_bits(kvm: Kvm, { generation }: Spte, bits: bigint, level: number): Spte {
  return kvm.machine.memory.entry(bits, generation, kvm.stage * STAGE + level);
}

/** The entry with the permission to write, which it must be MMU-writable for. */
export function make_writable(kvm: Kvm, spte: Spte, level: number): Spte {
  return with_bits(kvm, spte, spte.bits | masks_of(kvm).writable, level);
}

/** The entry without it; with `pt_protect` it is not MMU-writable any more either. */
export function write_protected(kvm: Kvm, spte: Spte, level: number, pt_protect: boolean): Spte {
  const { writable, mmu_writable } = masks_of(kvm);
  const gone = pt_protect ? writable | mmu_writable : writable;
  return with_bits(kvm, spte, spte.bits & ~gone, level);
}
