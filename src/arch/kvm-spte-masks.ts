/**
 * The bits of KVM's x86 entries that its protocols ask for, by kind of table: what kvm-spte.ts says of v6.12,
 * as masks. A mask that a kind of table has not got is 0.
 */
export interface SpteMasks {
  /** SPTE_MMU_PRESENT_MASK: an entry that KVM made, whatever hardware thinks of it. */
  readonly present: bigint;
  readonly accessed: bigint;
  readonly dirty: bigint;
  /** Hardware lets the guest write. */
  readonly writable: bigint;
  /** The host lets KVM write; KVM may make it writable without a lock. */
  readonly host_writable: bigint;
  readonly mmu_writable: bigint;
  /** SPTE_TDP_AD_MASK of entries without accessed and dirty bits: SPTE_TDP_AD_DISABLED. */
  readonly ad_disabled: bigint;
  /** shadow_acc_track_mask: taken away so that the next access faults; 0 where nothing is tracked so. */
  readonly acc_track: bigint;
  /** Which of them are kept while they are away, and how far up. */
  readonly acc_track_saved: bigint;
  readonly acc_track_shift: bigint;
  /** A leaf above the lowest level. */
  readonly large: bigint;
}

const SPTE = 1n << 11n;
const LARGE = 1n << 7n;

const ept: SpteMasks = {
  present: SPTE,
  accessed: 1n << 8n,
  dirty: 1n << 9n,
  writable: 1n << 1n,
  host_writable: 1n << 57n,
  mmu_writable: 1n << 58n,
  ad_disabled: 0n,
  acc_track: 0n,
  acc_track_saved: 0n,
  acc_track_shift: 54n,
  large: LARGE,
};

const npt: SpteMasks = {
  ...ept,
  accessed: 1n << 5n,
  dirty: 1n << 6n,
  host_writable: 1n << 9n,
  mmu_writable: 1n << 10n,
};

export const SPTE_MASKS: Readonly<Record<string, SpteMasks>> = Object.freeze({
  ept,
  ept_no_ad: {
    ...ept,
    accessed: 0n,
    dirty: 0n,
    ad_disabled: 1n << 52n,
    acc_track: 7n,
    acc_track_saved: 5n, // R and X; the write permission is found out anew
  },
  npt,
  shadow: npt,
});
