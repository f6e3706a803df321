/**
 * Every fact about the architectures with the place where it stands, by place.
 *
 *   npm run citations              all
 *   npm run citations -- arm64     those of one kind of page tables
 */
import { citationText } from '../dist/base/citation.js';
import { citationsOf } from '../dist/arch/citations.js';
import { TABLE_KINDS, tableKindNamed } from '../dist/arch/kinds.js';

/** @type {Map<string, Set<string>>} */
const places = new Map();
const names = process.argv.slice(2);
const kinds = names.length === 0 ? TABLE_KINDS : names.map((name) => tableKindNamed(name));
for (const { kind, what, cite } of kinds.flatMap((one) => citationsOf(one))) {
  const place = cite === undefined ? 'no source' : citationText(cite);
  places.set(place, (places.get(place) ?? new Set()).add(`${kind}: ${what}`));
}
for (const [place, facts] of [...places].sort(([a], [b]) => (a < b ? -1 : 1))) {
  console.log(place);
  for (const fact of facts) console.log(`  ${fact}`);
}
