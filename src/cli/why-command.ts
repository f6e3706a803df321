import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { VIOLATION_KINDS, type ViolationKind } from '../machine/violation.ts';
import { renderWhy, whyJson } from '../report/why.ts';
import type { Limits } from '../scenario/check.ts';
import type { WhyResult } from '../why/result.ts';
import type { ExitCode } from './exit-code.ts';
import { findScenarios } from './find-scenarios.ts';
import { jsonText, type Detail, type JsonForm, type Layout } from './options.ts';
import { ENGINE_VERSION, SCENARIO_FOLDER } from './package.ts';
import { Session, type CommonOptions } from './session.ts';
import { displayName, sourceLines } from './source-lines.ts';
import { painter } from './term.ts';

export interface WhyCommandOptions extends CommonOptions {
  readonly size: number;
  readonly kind?: ViolationKind;
  readonly show: readonly number[];
  readonly model?: MemoryModel;
  readonly limit: Limits;
  readonly json?: JsonForm;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
}

/** What is not said otherwise: long enough for what ships with the package. */
export const USUAL_TIME = 120_000;

/** `gracewalk why FILE VARIANT`: which protections carry a safe variant, or what a failing one fails for. */
export async function whyCommand(
  file: string,
  variant: string,
  options: WhyCommandOptions,
): Promise<ExitCode> {
  refuseSwitches(options.limit);
  const session = new Session(options);
  let result: WhyResult | null = null;
  const end = await session.run(
    {
      kind: 'why',
      file: findScenarios([file], SCENARIO_FOLDER)[0] as string,
      variant,
      model: options.model ?? null,
      limits: { time: USUAL_TIME, ...options.limit },
      size: options.size,
      violation: options.kind ?? null,
      show: options.show,
    },
    (message) => {
      if (message.kind === 'failed') session.fail(message.error);
      if (message.kind === 'reasons') result = message.result;
    },
  );
  if (end.kind === 'died') session.fail(end.error);
  if (result !== null) await report(result, options, session);
  return session.finish();
}

async function report(
  result: WhyResult,
  options: WhyCommandOptions,
  session: Session,
): Promise<void> {
  const complete = result.limit === null && result.undecided.length === 0;
  session.note(complete ? 0 : 3);
  if (result.verdict === 'safe' && result.unseen.length > 0) session.note(4);
  await session.output.write(rendered(result, options, session.color));
  const missing = options.show.find((n) => n > result.answers.length);
  if (missing === undefined) return;
  const { length } = result.answers;
  throw new GracewalkError('E107', `there is no answer ${missing} to show`, {
    notes: [length === 1 ? 'there is 1' : `there are ${length === 0 ? 'none' : length}`],
    help: 'numbers are those in front of the sets',
  });
}

function rendered(result: WhyResult, options: WhyCommandOptions, colored: boolean): string {
  const { json, width, layout, detail } = options;
  if (json) return jsonText(whyJson(result, ENGINE_VERSION, sourceLines()), json);
  return renderWhy(result, {
    width,
    layout,
    detail,
    source: sourceLines(),
    painter: painter(colored),
    showExpected: true,
    assumptions: true,
    shorten: (path) => displayName(path),
  });
}

function refuseSwitches({ switches }: Limits): void {
  if (switches === undefined) return;
  throw new GracewalkError('E115', 'why does not search by context switches', {
    notes: ['what is not needed is proven by exploring every run'],
    help: 'drop --limit switches=; --limit time= ends it early',
  });
}

/** A parser of `--kind`. */
export function parseKind(text: string): ViolationKind {
  const found = VIOLATION_KINDS.find((kind) => kind === text);
  if (found !== undefined) return found;
  const meant = suggest(text, VIOLATION_KINDS);
  throw new GracewalkError('E107', `bad --kind '${text}'`, {
    notes: [`kinds are ${VIOLATION_KINDS.join(', ')}`],
    help: meant === null ? 'one kind of violation' : `did you mean ${meant}?`,
  });
}

/** A parser of `--show`: numbers of answers, several with commas between them. */
export function parseShow(text: string, previous: readonly number[]): readonly number[] {
  const numbers = text.split(',').map((part) => (/^\d{1,4}$/.test(part.trim()) ? Number(part) : 0));
  if (numbers.every((number) => number > 0)) return [...previous, ...numbers];
  throw new GracewalkError('E107', `bad --show '${text}'`, {
    help: '--show takes the number of a set, or several: --show 1,3',
  });
}
