import type { Page, Word } from '../../src/machine/memory.ts';
import type { Steps } from '../../src/machine/op.ts';
import * as mem from '../../src/machine/ops/memory.ts';
import {
  contents_discarded,
  entry_suspended,
  page_ref_freeze,
  page_ref_get,
  page_ref_unfreeze,
  settle_claim,
  type MappingClaim,
} from '../../src/machine/ops/pages.ts';

/** What generated programs do to a page, besides reading and writing it: references, claims, and checks. */
export const FOLIO_STEPS = ['freeze', 'unfreeze', 'discard', 'suspend', 'store'] as const;
export type FolioStep = (typeof FOLIO_STEPS)[number];

/** Takes a reference on the page that an entry maps, and returns it if there was one to take. */
export function* lookup(page: Page | null, claim: MappingClaim): Steps<Page | null> {
  const taken = page && (yield* page_ref_get(page, true, claim)) ? page : null;
  return yield* settle_claim(taken);
}

/** One step with the page that an entry maps, or with that entry; what it answers. */
export function* folio(what: FolioStep, page: Page | null, entry: Word): Steps<number> {
  if (what === 'suspend') yield* entry_suspended(entry);
  if (!page) return 0;
  if (what === 'freeze') return (yield* page_ref_freeze(page, 1)) ? 1 : 0;
  if (what === 'unfreeze') yield* page_ref_unfreeze(page, 1);
  if (what === 'discard') yield* contents_discarded(page);
  if (what === 'store') {
    const nothing = { present: false, table: false, none: false, writable: false, dirty: false };
    const value = Object.freeze({ ...nothing, frame: -1, bits: 3n, generation: 0 });
    yield* mem.write_entry({ ...page, index: 0 }, value);
  }
  return 1;
}
