import type { Site } from '../base/errors.ts';
import { refuse } from './refuse.ts';
import type { ScenarioDefinition, Variant } from './scenario.ts';

/** What scenarios and variants say about themselves. */
export const TEXT_FIELDS = ['title', 'citation', 'story'] as const;

export function checkTexts(
  id: string,
  definition: ScenarioDefinition<unknown>,
  site: Site | undefined,
): void {
  for (const field of TEXT_FIELDS) {
    const text: unknown = definition[field];
    if (text === undefined || (typeof text === 'string' && text.trim() !== '')) continue;
    const what = `the ${field} of scenario ${id} is no text`;
    refuse('E108', what, site, [], `write \`${field}: '...'\`, or leave it out`);
  }
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
