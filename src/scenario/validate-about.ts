import type { Site } from '../base/errors.ts';
import { refuse } from './refuse.ts';
import type { ScenarioDefinition, Variant } from './scenario.ts';

// What scenarios and variants say about themselves.

/** An exhibit without its source would be hearsay. */
export function checkStory(
  id: string,
  { title, citation, story }: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  const told = Object.entries({ title, citation, story });
  if (told.every(([, text]) => text === undefined)) return;
  const wrong = told.find(([, text]) => typeof text !== 'string' || text.trim() === '');
  if (!wrong) return;
  refuse(
    'E108',
    `scenario ${id} tells a story without its ${wrong[0]}`,
    site,
    [`${wrong[0]} is ${wrong[1] === undefined ? 'missing' : JSON.stringify(wrong[1])}`],
    'title, citation and story are text, and belong together',
  );
}

export function checkQuestions(
  id: string,
  { ask }: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  for (const [title, diagram] of Object.entries(ask ?? {})) {
    if (typeof diagram === 'string') continue;
    refuse('E108', `the question '${title}' of ${id} is no diagram`, site, [], 'give it as text');
  }
}

/** `M3.12`, `L8`, `mm:C4`, `bug:mremap-late-flush`. */
const SHOWN_ID = /^([A-Z]\d+(\.\d+)?[a-z]?|(mm|kvm):[A-Z]\d+(\.\d+)?|bug:[a-z0-9-]+)$/;

export function checkIds(name: string, { shows }: Variant<unknown>, site: Site | undefined): void {
  if (shows === undefined) return;
  const wrong = Array.isArray(shows) ? shows.find((id) => !SHOWN_ID.test(String(id))) : shows;
  if (wrong === undefined) return;
  refuse(
    'E108',
    `variant '${name}' shows '${String(wrong)}', which is no id`,
    site,
    ['ids are those of mutations, schedules, configurations and bugs'],
    "write shows: ['M3.2'], ['L3'], ['mm:C4'] or ['bug:mremap-late-flush']",
  );
}
