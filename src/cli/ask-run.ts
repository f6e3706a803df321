import { askVariant, QuestionRefused } from '../ask/ask.ts';
import type { Diagram } from '../ask/diagram.ts';
import { readDiagram } from '../ask/read-diagram.ts';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import * as linux from '../kernel/index.ts';
import type { CheckOptions } from '../scenario/check.ts';
import { columnsOf } from '../scenario/facts.ts';
import { definitionOf } from '../scenario/program.ts';
import { underModel, type Scenario } from '../scenario/scenario.ts';
import { loadScenarios } from './load-scenarios.ts';
import type { AskJob, Message } from './protocol.ts';
import { planVariants } from './variants.ts';

/** The worker's part of `gracewalk ask`. */
export interface Surroundings {
  readonly fail: (error: unknown, file: string | null, variant?: string | null) => void;
  readonly loading: (file: string) => void;
  readonly stopped: () => boolean;
  readonly options: (scenario: Scenario, variant: string) => CheckOptions;
  readonly post: (message: Message) => void;
}

interface TitledQuestion {
  readonly title: string;
  readonly text: string;
}

export async function ask(job: AskJob, around: Surroundings): Promise<void> {
  const { fail, loading, stopped, options, post } = around;
  const [found] = await loadScenarios([job.file], fail, loading);
  if (!found) return;
  const { file } = found;
  const scenario = job.model === null ? found.scenario : underModel(found.scenario, job.model);
  const planned = planVariants([{ file, scenario }], job.variants, (error) => fail(error, null));
  const told = new Set<string>();
  /** The same row is wrong in every variant; it is told once. */
  const failOnce = (error: unknown, variant: string | null): void => {
    const { message, details } = error as GracewalkError;
    const key =
      error instanceof GracewalkError ? `${message} ${details.quoted?.where}` : String(variant);
    if (!told.has(key)) fail(error, file, variant);
    told.add(key);
  };
  let questions: readonly TitledQuestion[] = [];
  try {
    questions = questionsOf(scenario, job);
  } catch (error) {
    fail(error, file);
  }
  for (const { title, text } of questions) {
    for (const { variant } of planned) {
      if (stopped()) return;
      let diagram: Diagram;
      try {
        diagram = readDiagram(text, columnsOf(definitionOf(scenario, variant)), title);
      } catch (error) {
        failOnce(error, null);
        continue;
      }
      try {
        const result = askVariant(scenario, variant, diagram, {
          ...options(scenario, variant),
          title,
          plainCalls: PLAIN_CALLS,
          fixTypos: job.fixTypos,
          expected: job.expected === 'inconclusive' ? undefined : (job.expected ?? undefined),
        });
        post({ kind: 'asked', file, result });
      } catch (error) {
        if (error instanceof QuestionRefused) {
          for (const each of error.errors) failOnce(each, variant);
        } else failOnce(error, variant);
      }
    }
  }
}

/** Functions of the library that compute with values already read. */
const PLAIN_CALLS: ReadonlySet<string> = new Set(
  Object.entries(linux)
    .filter(([, value]) => typeof value === 'function' && !('title' in value))
    .map(([name]) => name),
);

function questionsOf(
  { id, definition, site }: Scenario,
  { question }: AskJob,
): readonly TitledQuestion[] {
  const own = Object.entries(definition.ask ?? {});
  if (question !== null && typeof question !== 'string') {
    return [{ title: question.name, text: question.text }];
  }
  const asked = own.filter(([title]) => question === null || title === question);
  if (asked.length > 0) return asked.map(([title, text]) => ({ title: `'${title}'`, text }));
  const titles = own.map(([title]) => `'${title}'`);
  if (question === null) {
    throw new GracewalkError('E504', `${id} has no questions of its own`, {
      site: site ?? undefined,
      help: "give a diagram: gracewalk ask FILE race.txt, or - for stdin; or add `ask: { 'title': `...` }`",
    });
  }
  const meant = suggest(question, titles);
  throw new GracewalkError('E504', `'${question}' is no file and no question of ${id}`, {
    notes: titles.length === 0 ? [] : [`it asks ${titles.join(', ')}`],
    help: meant === null ? 'a diagram is a file, or - for stdin' : `did you mean ${meant}?`,
  });
}
