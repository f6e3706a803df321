import { leaf } from '../../machine/fn.ts';
import type { Page } from '../../machine/memory.ts';
import type { Steps } from '../../machine/op.ts';
import { swap_word } from '../../machine/ops/memory.ts';
import type { Mm } from './types.ts';

/** folio_mark_dirty(): the page holds what is nowhere else. Follows linux v6.12 mm/page-writeback.c. */
export const folio_mark_dirty = leaf(function* folio_mark_dirty(mm: Mm, page: Page): Steps<void> {
  yield* swap_word(mm.kernel.folio(page).PG_dirty, 1);
});
