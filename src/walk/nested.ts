import { READ, WRITE, EXECUTE, type Access } from './access.ts';
import { missing, refused, type Mapping, type Problem } from './mappings.ts';
import type { SecondStage } from './second-stage.ts';

/** Pages of the guest that the second stage does not map: it does when the guest first uses them. */
export interface Unbacked {
  bytes: bigint;
}

/**
 * The guest's mappings, their addresses translated by the second stage: a page of both stages each, as
 * large as the smaller of the two. What only one stage maps is left out.
 */
export function* nested(
  guest: Iterable<Mapping | Problem>,
  second: SecondStage,
  unbacked: Unbacked,
): Generator<Mapping | Problem> {
  for (const page of guest) {
    if (page.what === 'problem') {
      yield page;
      continue;
    }
    const size = 1n << BigInt(page.shift);
    for (let done = 0n; done < size;) {
      const address = page.physical + done;
      const end = second.translate(address);
      const virtual = page.virtual + done;
      // Pages are aligned to their size, so each piece begins where the answer for it does.
      const shift = Math.min(end.shift, page.shift);
      const { kind } = second.tables;
      if (end.kind === 'mapped') {
        const access = both(page.access, end.access);
        yield { ...page, virtual, physical: end.physical, shift, access };
      } else if (end.kind === 'absent') {
        unbacked.bytes += 1n << BigInt(shift);
      } else {
        yield end.kind === 'refused'
          ? refused(kind, end.step, end.why, address)
          : missing(kind, end.table, end.missing, address);
      }
      done += 1n << BigInt(shift);
    }
  }
}

/** Who is a user is the guest's affair; what may be done must be allowed by both. */
export function both(guest: Access, second: Access): Access {
  return guest & (second | ~(READ | WRITE | EXECUTE));
}
