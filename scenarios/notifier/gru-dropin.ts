// A device with a TLB and no tables: a processor looks the page up and drops one translation in, while the page is
// being taken away.  linux v6.12 drivers/misc/sgi-gru (grufault.c, grutlbpurge.c).
import { entered, fails, patch, returned, safe, scenario, type Machine } from 'gracewalk';
import { x86_64 } from 'gracewalk/arch';
import {
  MISS,
  PAGE_SIZE,
  gru_invalidate_range_start,
  gru_ops,
  gru_range_active,
  gru_try_dropin,
  madvise_dontneed,
  new_gru,
  new_mm,
  new_mmu_notifier,
  new_page,
  registered,
  set_spte,
  smp_mb,
  spte_at,
  tfh_pending,
  tfh_write_restart,
  write_entry,
  type Gru,
  type Mm,
} from 'gracewalk/linux';

const ADDR = 0x1000;

interface State {
  readonly mm: Mm;
  readonly gru: Gru;
}

/** The handle is a word that a processor writes, and not the device. */
const POSTED = patch(tfh_pending, function* (gru, addr) {
  yield* write_entry(spte_at(gru, addr), MISS);
});

const POSTED_MB = patch(tfh_pending, function* (gru, addr) {
  yield* write_entry(spte_at(gru, addr), MISS);
  yield* smp_mb(); // the handle before the count
});

export default scenario<State>('gru-dropin', {
  machine: x86_64({ cpus: 2 }),
  config: { MMU_NOTIFIER: true },

  setup(m: Machine) {
    const mm = new_mm(m, 'mm', { [ADDR]: new_page(m, 'X') }, { on: [] });
    const gru = new_gru(m, mm, 'gru');
    registered(m, new_mmu_notifier(m, mm, 'gru->ms_notifier', gru_ops(gru)));
    return { mm, gru };
  },

  run: {
    CPU0: ({ gru }) => gru_try_dropin(gru, ADDR),
    CPU1: ({ mm }) => madvise_dontneed(mm, ADDR, PAGE_SIZE),
  },

  sometimes: {
    'the page is dropped in': returned(gru_try_dropin, true),
    'a pending miss is cancelled': returned(tfh_write_restart, false),
    'a range is active': returned(gru_range_active, true),
    'the TLB is flushed': entered('CPU1', gru_invalidate_range_start),
  },

  variants: {
    'count and cancel': safe({ shows: ['G1', 'G2'] }),
    'count and cancel (tso)': safe({ model: 'tso' }),
    // The look at the count overtakes the handle, and the flush finds nothing to cancel.
    'posted by a processor (tso)': fails('stale-translation', { model: 'tso', patches: [POSTED] }),
    'posted by a processor, smp_mb (tso)': safe({ model: 'tso', patches: [POSTED_MB] }),
    // G1: the invalidation is over before the dropin, and nothing says that it was there.
    'count only': fails('stale-translation', {
      shows: ['G1'],
      patches: [
        patch(tfh_write_restart, function* (gru, addr, page) {
          yield* set_spte(gru, addr, page);
          return true;
        }),
      ],
    }),
    // G2: the invalidation has begun before the miss, and has not changed the entry yet.
    'cancel only': fails('stale-translation', {
      shows: ['G2'],
      patches: [
        patch(gru_range_active, function* () {
          return false;
        }),
      ],
    }),
  },
});
