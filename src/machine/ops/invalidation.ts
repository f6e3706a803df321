import { announcedBy, setAnnounced, type Announced } from '../invalidations.ts';
import { defineOp, perform, type Steps } from '../op.ts';

/**
 * Says to the checks (sanitizers/untold.ts) between which steps an invalidation is announced to those who have
 * copies of a process's entries. No operation of a protocol, and nobody else's footprint.
 */

const announcedOp = defineOp('announced', {
  ordering: 'none',
  exec: (m, who, [root, start, end]: [number, number, number]) => {
    setAnnounced(m, who, [...announcedBy(m, who), { root, start, end }]);
    return undefined;
  },
  ghost: true,
});

/** All have been told that entries of [start, end) are going to change. */
export function* invalidation_announced(root: number, start: number, end: number): Steps<void> {
  yield* perform(announcedOp, [root, start, end]);
}

const isSame = (a: Announced, b: Announced): boolean =>
  a.root === b.root && a.start === b.start && a.end === b.end;

const endedOp = defineOp('announcement_ends', {
  ordering: 'none',
  exec: (m, who, [root, start, end]: [number, number, number]) => {
    const all = announcedBy(m, who);
    const at = all.findIndex((one) => isSame(one, { root, start, end }));
    setAnnounced(
      m,
      who,
      all.filter((_one, index) => index !== at),
    );
    return undefined;
  },
  ghost: true,
});

/** They are about to be told that it is over. */
export function* announcement_ends(root: number, start: number, end: number): Steps<void> {
  yield* perform(endedOp, [root, start, end]);
}
