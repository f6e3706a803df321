import type { Sanitizer } from '../machine/machine.ts';
import { atomic_sleep } from './atomic-sleep.ts';
import { balance } from './balance.ts';
import { leak } from './leak.ts';
import { leftovers } from './leftovers.ts';
import { lost_write } from './lost-write.ts';
import { lost_dirty } from './lost-dirty.ts';
import { lost_store } from './lost-store.ts';
import { not_on_disk } from './not-on-disk.ts';
import { old_copy } from './old-copy.ts';
import { stale_spte } from './stale-spte.ts';
import { stale_translation } from './stale-translation.ts';
import { torn_entry } from './torn-entry.ts';
import { untold } from './untold.ts';
import { use_after_free } from './use-after-free.ts';
import { wrong_page } from './wrong-page.ts';

/**
 * The checks that are always on. To add one: write a `Sanitizer` in a file of its own, add it here, and
 * give it a smallest program that trips it and a smallest correct one that must not
 * (`test/sanitizers/`). What it reads of the machine goes through `cells.get`, so that it joins the
 * footprint of the step it watches.
 */
export const all_sanitizers: readonly Sanitizer[] = [
  use_after_free,
  stale_translation,
  stale_spte,
  torn_entry, // before wrong-page: the page of a torn entry is that as well
  wrong_page,
  lost_write,
  lost_dirty,
  lost_store,
  not_on_disk,
  old_copy,
  untold,
  atomic_sleep,
  leftovers,
  balance,
  leak,
];
