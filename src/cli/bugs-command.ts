import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import { fold } from '../report/wrap.ts';
import { check } from './check-command.ts';
import type { ExitCode } from './exit-code.ts';
import { builtInScenarios } from './find-scenarios.ts';
import { jsonText, type Detail, type JsonForm, type Layout } from './options.ts';
import { SCENARIO_FOLDER } from './package.ts';
import type { Exhibit } from './protocol.ts';
import { Session, type CommonOptions } from './session.ts';

/**
 * The museum: bugs that were real, each a scenario in scenarios/bugs/ with its story. index.json there has
 * those that are known and wait for something.
 */
export interface BugsOptions extends CommonOptions {
  readonly json?: JsonForm;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
}

interface Waiting {
  readonly id: string;
  readonly title: string;
  readonly waits: string;
}

const FOLDER = join(SCENARIO_FOLDER, 'bugs');

/** `gracewalk bugs`: the list; `gracewalk bugs ID`: one, with its story, its failing form and its fixed one. */
export async function bugs(id: string | undefined, options: BugsOptions): Promise<ExitCode> {
  const exhibits = builtInScenarios(FOLDER);
  const waiting = waitingBugs(exhibits.map(({ name }) => name));
  if (id === undefined)
    return list(
      exhibits.map(({ path }) => path),
      waiting,
      options,
    );
  const found = exhibits.find(({ name }) => name === id);
  if (!found)
    throw notShown(
      id,
      exhibits.map(({ name }) => name),
      waiting,
    );
  const session = new Session(options);
  const [exhibit] = await described([found.path], session);
  if (exhibit && !options.json)
    await session.output.write(`${storyText(exhibit, options.width)}\n`);
  if (!exhibit) return session.finish();
  return check([found.path], { ...options, variant: exhibit.variants, limit: {}, jobs: 1 });
}

function waitingBugs(shown: readonly string[]): Waiting[] {
  const text = readFileSync(join(FOLDER, 'index.json'), 'utf8');
  const index = JSON.parse(text) as Record<string, Omit<Waiting, 'id'>>;
  return Object.entries(index)
    .filter(([id]) => !shown.includes(id))
    .map(([id, entry]) => ({ id, ...entry }));
}

async function described(files: readonly string[], session: Session): Promise<Exhibit[]> {
  const exhibits: Exhibit[] = [];
  const end = await session.run({ kind: 'describe', files }, (message) => {
    if (message.kind === 'failed') session.fail(message.error);
    if (message.kind === 'exhibit') exhibits.push(message.exhibit);
  });
  if (end.kind === 'died') session.fail(end.error);
  return exhibits;
}

async function list(
  files: readonly string[],
  waiting: readonly Waiting[],
  options: BugsOptions,
): Promise<ExitCode> {
  const session = new Session(options);
  const exhibits = await described(files, session);
  const { json, width } = options;
  await session.output.write(
    json
      ? jsonText({ schema: 'gracewalk.bugs/1', bugs: exhibits, waiting }, json)
      : listText(exhibits, waiting, width),
  );
  return session.finish();
}

function listText(
  exhibits: readonly Exhibit[],
  waiting: readonly Waiting[],
  width: number,
): string {
  const rows = exhibits.flatMap(({ id, title, citation }) => [
    `  ${id}`,
    ...indented(title ?? '', 6, width),
    ...indented(citation ?? '', 6, width),
    '',
  ]);
  const others = waiting.flatMap(({ id, title, waits }) => [
    `  ${id}`,
    ...indented(title, 6, width),
    ...indented(`waits for ${waits}`, 6, width),
  ]);
  return [
    'Bugs that can be run: gracewalk bugs ID',
    '',
    ...rows,
    ...(others.length === 0 ? [] : [`Bugs that wait (${waiting.length}):`, '', ...others]),
    '',
  ].join('\n');
}

function storyText({ title, citation, story }: Exhibit, width: number): string {
  const parts = [title ?? '', citation ?? '', story ?? ''].filter((text) => text !== '');
  return `${parts.map((text) => fold(text, width)).join('\n\n')}\n`;
}

function indented(text: string, by: number, width: number): string[] {
  return fold(text, width - by)
    .split('\n')
    .map((line) => ' '.repeat(by) + line);
}

function notShown(
  id: string,
  shown: readonly string[],
  waiting: readonly Waiting[],
): GracewalkError {
  const entry = waiting.find((each) => each.id === basename(id));
  if (entry) {
    return new GracewalkError('E125', `${entry.id} has no scenario yet`, {
      notes: [entry.title, `it waits for ${entry.waits}`],
      help: 'gracewalk bugs lists those that can be run',
    });
  }
  const meant = suggest(id, [...shown, ...waiting.map((each) => each.id)]);
  return new GracewalkError('E125', `no bug '${id}' is known`, {
    help: meant === null ? 'gracewalk bugs lists them' : `did you mean ${meant}?`,
  });
}
