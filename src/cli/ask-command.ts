import { existsSync, readFileSync } from 'node:fs';
import { GracewalkError } from '../base/errors.ts';
import type { AskResult } from '../ask/result.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { askDocument } from '../report/ask-json.ts';
import { renderAsked } from '../report/ask-text.ts';
import type { Limits } from '../scenario/check.ts';
import { worst, type ExitCode } from './exit-code.ts';
import { builtInScenarios, findScenario } from './find-scenarios.ts';
import { formOf, jsonText, type Detail, type FormOptions, type Layout } from './options.ts';
import { ENGINE_VERSION, SCENARIO_FOLDER } from './package.ts';
import type { AskJob } from './protocol.ts';
import { Session, type CommonOptions } from './session.ts';
import { displayName, sourceLines } from './source-lines.ts';
import { painter } from './term.ts';

export interface AskOptions extends CommonOptions, FormOptions {
  readonly variant: readonly string[];
  readonly model?: MemoryModel;
  readonly expect?: 'reachable' | 'unreachable';
  readonly fixTypos?: boolean;
  readonly limit: Limits;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
}

/** `gracewalk ask FILE [DIAGRAM]`: is this order of steps possible, and what comes of it? */
export async function ask(
  operand: string,
  diagram: string | undefined,
  options: AskOptions,
): Promise<ExitCode> {
  const file = findScenario(operand, builtInScenarios(SCENARIO_FOLDER), process.cwd());
  const session = new Session(options);
  const results: AskResult[] = [];
  let failed = false;
  const end = await session.run(
    {
      kind: 'ask',
      file,
      variants: options.variant,
      model: options.model ?? null,
      limits: options.limit,
      fixTypos: options.fixTypos ?? false,
      expected: options.expect ?? null,
      question: questionOf(diagram),
    },
    (message) => {
      if (message.kind === 'failed') {
        session.fail(message.error);
        failed = true;
      }
      if (message.kind === 'asked') results.push(message.result);
    },
  );
  if (end.kind === 'died') session.fail(end.error);
  session.note(worst(results.map((result) => codeOf(result, options.expect !== undefined))));
  await session.output.write(rendered(results, file, options, session.color));
  if (end.kind !== 'done' && !failed) session.note(3);
  return session.finish();
}

/** An answer is an answer, either way; with --expect it is a test. */
function codeOf({ answer, ok, completions }: AskResult, isTest: boolean): ExitCode {
  if (answer === 'inconclusive') return 3;
  if (isTest) return ok ? 0 : 1;
  return completions === null || completions.exhaustive ? 0 : 3;
}

function questionOf(diagram: string | undefined): AskJob['question'] {
  if (diagram === undefined) return null;
  if (diagram !== '-' && !existsSync(diagram)) {
    // A name with an ending or a folder is meant to be a file.
    if (!/[./\\]\w+$/.test(diagram)) return diagram;
    throw new GracewalkError('E114', `no such file: ${diagram}`, {
      help: 'name a file with a diagram, - for stdin, or the title of a question of the scenario',
    });
  }
  const name = diagram === '-' ? 'stdin' : displayName(diagram);
  try {
    return { name, text: readFileSync(diagram === '-' ? 0 : diagram, 'utf8') };
  } catch (error) {
    throw new GracewalkError('E114', `${name} cannot be read: ${(error as Error).message}`, {
      help: 'name a file with a diagram, or - for stdin',
    });
  }
}

function rendered(
  results: readonly AskResult[],
  file: string,
  options: AskOptions,
  colored: boolean,
): string {
  const source = sourceLines();
  const { width, layout, detail } = options;
  switch (formOf(options)) {
    case 'json':
      return jsonText(askDocument(results, ENGINE_VERSION, source), 'document');
    case 'json-lines':
      return jsonText(askDocument(results, ENGINE_VERSION, source), 'lines');
    case 'quiet':
    case 'ktap':
      return results
        .filter(({ ok, answer }) => !ok || answer === 'inconclusive')
        .map((result) => `${result.scenario} / ${result.variant}: ${result.answer}\n`)
        .join('');
    case 'text':
      return renderAsked(results, {
        width,
        layout,
        detail,
        source,
        painter: painter(colored),
        file: file.startsWith(SCENARIO_FOLDER) ? null : displayName(file),
      });
  }
}
