import type { Site } from '../base/errors.ts';
import { isOnlyIn, type Predicate } from './predicates.ts';
import { didYouMean, refuse, thereAre } from './refuse.ts';
import type { ScenarioDefinition } from './scenario.ts';

/** The predicates of a scenario, and whom they speak of. */
export function checkPredicates(
  id: string,
  { sometimes, always, variants, run }: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  if (typeof sometimes !== 'object' || sometimes === null) {
    refuse(
      'E108',
      `scenario ${id} has no sometimes`,
      site,
      ['it names what must be seen in some run, so that nobody is misled by a check of nothing'],
      "add `sometimes: { 'the walk succeeds': returned(walk, 1) }`; if there is nothing to see, `sometimes: {}`",
    );
  }
  for (const [title, predicate] of Object.entries(always ?? {})) {
    if (typeof predicate !== 'function') refusePredicate(`always '${title}'`, site);
  }
  const names = Object.keys(variants);
  for (const [title, predicate] of Object.entries(sometimes)) {
    const where = `sometimes '${title}'`;
    if (!isPredicate(predicate)) refusePredicate(where, site);
    const asked = isOnlyIn(predicate) ? predicate.variants : names;
    const unknown = asked.find((name) => !names.includes(name));
    if (asked.length === 0) {
      refuse('E106', `${where} is asked of no variant`, site, [], 'name one in only([...], ...)');
    }
    if (unknown !== undefined) {
      refuse(
        'E106',
        `no variant '${unknown}' in ${id}`,
        site,
        [`${where} is asked of it; there ${thereAre(names)}`],
        didYouMean(unknown, names) ?? 'name variants as they are written under `variants`',
      );
    }
    const own = isOnlyIn(predicate) ? predicate.predicate : predicate;
    if (typeof own === 'function' || own.actor === undefined) continue;
    const actors = [...new Set(asked.flatMap((name) => Object.keys(variants[name]?.run ?? run)))];
    if (actors.includes(own.actor) || MADE_WHILE_RUNNING.test(own.actor)) continue;
    refuse(
      'E102',
      `no actor '${own.actor}'`,
      site,
      [`${where} speaks of its steps; there ${thereAre(actors)}`],
      didYouMean(own.actor, actors) ?? 'name actors as they are written under `run`',
    );
  }
}

/** Handlers, callbacks and the machine's surroundings: no scenario names them under `run`. */
const MADE_WHILE_RUNNING = /^(IPI: |S?RCU callback: |host of |elsewhere$)/;

function isPredicate(value: unknown): value is Predicate<unknown> {
  if (typeof value === 'function') return true;
  if (typeof value !== 'object' || value === null) return false;
  if ('holds' in value) return true;
  if (!('variants' in value) || !Array.isArray(value.variants)) return false;
  return (
    'predicate' in value && !isOnlyIn(value.predicate as never) && isPredicate(value.predicate)
  );
}

function refusePredicate(where: string, site: Site | undefined): never {
  refuse(
    'E108',
    `${where} is no predicate`,
    site,
    [],
    'give a function of the view, `(v) => v.read(v.s.x) === 1`, or under `sometimes` also touched(...), returned(...) or only([...], ...)',
  );
}
