import type { Machine } from '../../../../machine/machine.ts';
import type { Page } from '../../../../machine/memory.ts';
import { stageNamed } from '../../../../machine/stages.ts';
import { new_mmu_notifier, registered } from '../../../mm/mmu_notifier-boot.ts';
import type { Mm } from '../../../mm/types.ts';
import { new_vm } from '../../../virt/kvm/boot.ts';
import { kvm_mmu_notifier_ops } from '../../../virt/kvm/kvm_main.ts';
import type { Kvm, Memslots } from '../../../virt/kvm/types.ts';
import { SPTE_MASKS } from '../../../../arch/kvm-spte-masks.ts';
import { tdp_mmu } from './tdp_mmu_host.ts';
import { frozen_spte, make_spte, masks_of } from './spte.ts';

/** A virtual machine with the TDP MMU, as a scenario finds it. Nothing here is a step. */
export interface TdpVmOptions {
  /** The CPUs that the threads of its vCPUs run on. */
  readonly vcpus: readonly string[];
  /** `ept` if not said, `ept_no_ad`, or `npt`. */
  readonly tables?: string;
  /** Guest frames from 0 on that are memory: as many entries of a table are used. One if not said. */
  readonly npages?: number;
  /** Its sets of slots, if it is not one slot of `npages`. */
  readonly memslots?: readonly Memslots[];
  /** Guest frames that KVM itself reads and writes (virt/kvm/pfncache.ts). */
  readonly gpcs?: readonly number[];
  /** Guest frames that are mapped already, writable. */
  readonly mapped?: Readonly<Record<number, Page>>;
  /** The same at the level above: huge pages. */
  readonly huge?: Readonly<Record<number, Page>>;
  /** Guest frames for which there is a leaf table although it maps nothing. */
  readonly tables_for?: readonly number[];
}

/** A virtual machine with one slot of `npages` guest frames, or with the slots that it is given. */
export function new_tdp_vm(machine: Machine, mm: Mm, name: string, options: TdpVmOptions): Kvm {
  const { vcpus, tables = TABLES, npages = 1, tables_for = [], gpcs = [] } = options;
  const of = { machine, tables, stage: stageNamed(machine.arch, tables) };
  const at = (pages: Readonly<Record<number, Page>>, level: number): InitialSptes =>
    Object.fromEntries(
      Object.entries(pages).map(([gfn, page]) => [
        gfn,
        { page, level, bits: make_spte(of, level, page, { write: true }).bits },
      ]),
    );
  machine.specialEntries.set(frozen_spte(of, 0).bits, 'FROZEN_SPTE');
  const { present, ad_disabled } = masks_of(of);
  return new_vm(machine, mm, name, tdp_mmu, {
    vcpus,
    tables,
    tables_for,
    links: present | ad_disabled,
    gpcs,
    memslots: options.memslots ?? [[{ id: 0, base_gfn: 0, npages, userspace_addr: 0 }]],
    mapped: { ...at(options.mapped ?? {}, 0), ...at(options.huge ?? {}, 1) },
  });
}

type InitialSptes = NonNullable<Parameters<typeof new_vm>[4]['mapped']>;

/** The first of `arch.seconds`. */
const TABLES = Object.keys(SPTE_MASKS)[0] as string;

/**
 * A virtual machine whose guest faults on the pages of `mm`: guest frame n is the page at n * PAGE_SIZE there.
 * With CONFIG_MMU_NOTIFIER it is registered with `mm`.
 */
export function new_host_vm(machine: Machine, mm: Mm, options: Partial<TdpVmOptions> = {}): Kvm {
  const kvm = new_tdp_vm(machine, mm, 'kvm', { vcpus: ['CPU0'], tables_for: [0], ...options });
  if (mm.notifiers) {
    registered(
      machine,
      new_mmu_notifier(machine, mm, 'kvm->mmu_notifier', kvm_mmu_notifier_ops(kvm)),
    );
  }
  return kvm;
}
