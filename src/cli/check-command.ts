import { GracewalkError } from '../base/errors.ts';
import type { VariantResult } from '../scenario/result.ts';
import type { Limits } from '../scenario/check.ts';
import { exitCodeOf, type ExitCode } from './exit-code.ts';
import { findScenarios } from './find-scenarios.ts';
import type { Detail, Layout } from './options.ts';
import { SCENARIO_FOLDER } from './package.ts';
import type { CheckJob, ReportedError } from './protocol.ts';
import { renderFindings, type Findings } from './render.ts';
import { Session, type CommonOptions } from './session.ts';
import { displayName } from './source-lines.ts';

export interface CheckOptions extends CommonOptions {
  readonly variant: readonly string[];
  readonly limit: Limits;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
  readonly json?: boolean;
}

/** `gracewalk check FILE...`: explores every variant and compares it with its expectation. */
export async function check(operands: readonly string[], options: CheckOptions): Promise<ExitCode> {
  refuseUnquoted(options.variant);
  const files = findScenarios(operands, SCENARIO_FOLDER);
  const session = new Session(options);
  const findings = await explore(session, {
    kind: 'check',
    files,
    variants: options.variant,
    limits: options.limit,
  });
  await session.output.write(
    renderFindings(findings, {
      ...options,
      colored: session.color,
      // Somebody who names a variant wants to see its run, expected or not.
      showExpected: options.variant.length > 0,
    }),
  );
  return session.finish();
}

async function explore(session: Session, job: CheckJob): Promise<Findings> {
  const results: VariantResult[] = [];
  const errors: ReportedError[] = [];
  const files = new Map<string, string>();
  let planned = 0;
  const fail = (error: ReportedError): void => {
    errors.push(error);
    session.fail(error);
  };
  const end = await session.run(job, (message) => {
    if (message.kind === 'planned') planned = message.variants;
    if (message.kind === 'failed') fail(message.error);
    if (message.kind !== 'result') return;
    const { result, file } = message;
    results.push(result);
    if (!file.startsWith(SCENARIO_FOLDER)) files.set(result.scenario, displayName(file));
    session.note(exitCodeOf(result));
  });
  if (end.kind === 'died') fail(end.error);
  return { results, files, errors, notChecked: planned - results.length };
}

/** `--variant pv, no rcu`: the shell makes three words of it, and the last two would be scenarios. */
function refuseUnquoted(variants: readonly string[]): void {
  const cut = variants.find((name) => name.endsWith(','));
  if (cut === undefined) return;
  throw new GracewalkError('E106', `the variant's name '${cut}' ends in the middle`, {
    help: `quote names that have spaces: --variant '${cut} ...'`,
  });
}
