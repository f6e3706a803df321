import type { Machine } from '../machine.ts';
import { type Page, type Word } from '../memory.ts';
import { defineOp, perform, type Steps } from '../op.ts';
import { leaf } from '../fn.ts';

/** What of a page of a file is on disk. Nobody reads it here but the check that nothing was lost. */

/** Pages of files: by frame, the word that holds what is on disk. */
function disk(m: Machine): Map<number, Word> {
  let known = m.objects.get('disk') as Map<number, Word> | undefined;
  if (!known) m.objects.set('disk', (known = new Map()));
  return known;
}

/** The copy on disk of the page in `frame`, if it is a page of a file. */
export function onDisk(m: Machine, frame: number): Word | undefined {
  return disk(m).get(frame);
}

/** Makes the page one of a file, all zero and on disk. When the scenario begins. */
export function storeOnDisk(m: Machine, { frame }: Page): void {
  const word = m.memory.at(m.memory.reserve(8), 0, `disk(${m.memory.info(frame).name})`);
  disk(m).set(frame, word);
}

const writeOp = defineOp('write_disk', {
  ordering: 'full', // the device is told by a store to its registers, behind a barrier
  exec: (m, _who, [page, contents]: [Page, bigint]) => {
    const word = onDisk(m, page.frame);
    if (word) m.memory.storeWide(word, m.memory.entry(contents, 0));
    return undefined;
  },
  describe: (m, _who, [page, contents]) => ({
    event: `the disk has written ${m.memory.info(page.frame).name}, which says 0x${contents.toString(16)}`,
  }),
});

/** The disk has stored what it read from the page. */
export const write_disk = leaf(function* write_disk(page: Page, contents: bigint): Steps<void> {
  yield* perform(writeOp, [page, contents]);
});
