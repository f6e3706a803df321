import { fn } from '../../../../machine/fn.ts';
import { STAGE, levelAt } from '../../../../machine/stages.ts';
import { PAGE_SHIFT, type Page } from '../../../../machine/memory.ts';
import type { Steps } from '../../../../machine/op.ts';
import { AGAIN, retry } from '../../../../machine/ops/retry.ts';
import { sptep_at } from '../../../virt/kvm/boot.ts';
import type { Kvm, Spte, Sptep } from '../../../virt/kvm/types.ts';
import { kvm_tdp_mmu_read_spte, spte_to_child_pt } from './spte.ts';

/**
 * Walks of the TDP MMU's tables, in pre-order.
 *
 * Guarantee: each entry is read once, into `old_spte`, and whoever changes it says what he believes it to be.
 * Before the walk goes down an entry is read again, because whoever walks may have changed it, or lost to
 * somebody who did. The pointers to the tables on the way are good for one RCU read-side section; a walk
 * that leaves it starts again from the root, at the guest frame where it was.
 * Progress: `yielded_gfn` remembers where the walk has paused last. It does not pause there again.
 *
 * Follows linux v6.12 arch/x86/kvm/mmu/tdp_iter.{h,c}. An entry whose value nobody can look at any more (the
 * parent on the way up, the one behind the end of the range) is not read.
 */
export interface TdpIter {
  readonly kvm: Kvm;
  readonly root: Page;
  readonly end: number;
  /** The walk does not go below this level. */
  readonly min_level: number;
  /** The next guest frame to be reached at the lowest level. */
  next_last_level_gfn: number;
  yielded_gfn: number;
  /** The walk has let others have mmu_lock: how it takes the lock again. */
  yielded: (() => Steps<void>) | null;
  gfn: number;
  level: number;
  sptep: Sptep;
  old_spte: Spte;
  valid: boolean;
  /** The tables that the walk has gone through, by level. */
  readonly pt_path: Page[];
}

/** KVM_PAGES_PER_HPAGE(): guest frames that an entry of the level covers. */
export function gfns_per_entry(kvm: Kvm, level: number): number {
  return 2 ** (levelAt(kvm.machine.arch, kvm.stage * STAGE + level).shift - PAGE_SHIFT);
}

export function gfn_round_for_level(kvm: Kvm, gfn: number, level: number): number {
  return gfn - (gfn % gfns_per_entry(kvm, level));
}

function* tdp_iter_refresh_sptep(iter: TdpIter): Steps<void> {
  const { kvm, gfn, level } = iter;
  iter.sptep = sptep_at(kvm, iter.pt_path[level] as Page, level, gfn);
  iter.old_spte = yield* kvm_tdp_mmu_read_spte(iter.sptep);
}

/** Begins at the root again, at the guest frame where the walk is. */
function* tdp_iter_restart(iter: TdpIter): Steps<void> {
  const { kvm, root } = iter;
  iter.yielded = null;
  iter.yielded_gfn = iter.next_last_level_gfn;
  iter.level = kvm.root_level;
  iter.gfn = gfn_round_for_level(kvm, iter.next_last_level_gfn, iter.level);
  iter.pt_path[iter.level] = root;
  iter.valid = true;
  yield* tdp_iter_refresh_sptep(iter);
}

/** A walk of the guest frames [start, end) from `root`. RCU protects it. */
export const tdp_iter_start = fn(
  function* tdp_iter_start(
    kvm: Kvm,
    root: Page,
    start: number,
    end: number,
    min_level: number = 0,
  ): Steps<TdpIter> {
    const iter = {
      kvm,
      root,
      end,
      min_level,
      next_last_level_gfn: start,
      pt_path: [],
    } as unknown as TdpIter;
    yield* tdp_iter_restart(iter);
    return iter;
  },
  { hidden: true },
);

/** Into the table that the entry leads to, if it does by now. */
function* try_step_down(iter: TdpIter): Steps<boolean> {
  const { kvm, level, sptep } = iter;
  if (level === iter.min_level) return false;
  iter.old_spte = yield* kvm_tdp_mmu_read_spte(sptep);
  const child = spte_to_child_pt(kvm, iter.old_spte, level);
  if (!child) return false;
  iter.level--;
  iter.pt_path[iter.level] = child;
  iter.gfn = gfn_round_for_level(kvm, iter.next_last_level_gfn, iter.level);
  yield* tdp_iter_refresh_sptep(iter);
  return true;
}

/** To the next entry of the same table. */
function* try_step_side(iter: TdpIter): Steps<boolean> {
  const { kvm, level } = iter;
  const size = gfns_per_entry(kvm, level);
  const { bits } = levelAt(kvm.machine.arch, kvm.stage * STAGE + level);
  if ((iter.gfn / size) % 2 ** bits === 2 ** bits - 1) return false;
  iter.gfn += size;
  iter.next_last_level_gfn = iter.gfn;
  if (iter.gfn < iter.end) yield* tdp_iter_refresh_sptep(iter);
  else iter.valid = false;
  return true;
}

function try_step_up(iter: TdpIter): boolean {
  if (iter.level === iter.kvm.root_level) return false;
  iter.level++;
  iter.gfn = gfn_round_for_level(iter.kvm, iter.gfn, iter.level);
  return true;
}

/** The next entry in pre-order; where the walk was, if it has paused. */
export const tdp_iter_next = fn(
  function* tdp_iter_next(iter: TdpIter): Steps<void> {
    if (iter.yielded) {
      yield* tdp_iter_restart(iter);
      return;
    }
    if (yield* try_step_down(iter)) return;
    do {
      if (yield* try_step_side(iter)) return;
    } while (try_step_up(iter));
    iter.valid = false;
  },
  { hidden: true },
);

/**
 * for_each_tdp_pte(), of a walk that may pause: visits each entry. Who pauses sets `yielded`, with mmu_lock and
 * the RCU section dropped. From one pause to the next the walk is a round that takes both and begins at the root;
 * one that pauses where it began would be the same round again.
 */
export const for_each_tdp_pte = fn(
  function* for_each_tdp_pte(iter: TdpIter, visit: () => Steps<void>): Steps<void> {
    while (iter.valid) {
      yield* retry(function* () {
        const { yielded, next_last_level_gfn } = iter;
        if (yielded) {
          yield* yielded();
          yield* tdp_iter_next(iter);
        }
        while (iter.valid && !iter.yielded) {
          yield* visit();
          if (!iter.yielded) yield* tdp_iter_next(iter);
        }
        const stays = yielded && iter.yielded && iter.next_last_level_gfn === next_last_level_gfn;
        return stays ? AGAIN : undefined;
      });
    }
  },
  { hidden: true },
);
