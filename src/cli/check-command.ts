import { GracewalkError } from '../base/errors.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import type { Hunt, Limits } from '../scenario/check.ts';
import { exitCodeOf, type ExitCode } from './exit-code.ts';
import { findScenarios } from './find-scenarios.ts';
import { Findings } from './findings.ts';
import { formOf, type Detail, type FormOptions, type Layout } from './options.ts';
import { SCENARIO_FOLDER } from './package.ts';
import type { CheckJob, Expectation, Message } from './protocol.ts';
import { reporterOf, type Reporter } from './reporter.ts';
import { Session, type CommonOptions } from './session.ts';

export interface CheckOptions extends CommonOptions, FormOptions {
  readonly variant: readonly string[];
  readonly expect?: Expectation;
  readonly model?: MemoryModel;
  readonly limit: Limits;
  readonly jobs: number;
  readonly certify?: boolean;
  readonly random?: number;
  readonly pct?: number;
  readonly seed?: number;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
  readonly assumptions?: boolean;
}

/** `gracewalk check FILE...`: explores every variant and compares it with its expectation. */
export async function check(operands: readonly string[], options: CheckOptions): Promise<ExitCode> {
  refuseUnquoted(options.variant);
  refuseMixed(options);
  const files = findScenarios(operands, SCENARIO_FOLDER);
  const form = formOf(options);
  // In these two, progress is on stdout or an intrusion.
  const silent = form === 'json-lines' || (form === 'quiet' && options.progress === undefined);
  const session = new Session(silent ? { ...options, progress: 'off' } : options);
  const reporter = reporterOf(form, {
    ...options,
    colored: session.color,
    // Somebody who names a variant wants to see its run, expected or not.
    showExpected: options.variant.length > 0,
    assumptions: options.assumptions ?? false,
  });
  const findings = await explore(session, reporter, {
    kind: 'check',
    files,
    variants: options.variant,
    model: options.model ?? null,
    limits: options.limit,
    jobs: options.jobs,
    certify: options.certify ?? false,
    hunt: huntOf(options),
    expect: options.expect,
  });
  await session.output.write(reporter.end(findings));
  return session.finish();
}

async function explore(session: Session, reporter: Reporter, job: CheckJob): Promise<Findings> {
  const findings = new Findings();
  const hear = (message: Message): void => {
    findings.hear(message);
    if (message.kind === 'failed') session.fail(message.error);
    if (message.kind === 'result') session.note(exitCodeOf(message.result));
    void session.output.write(reporter.hear(message));
  };
  void session.output.write(reporter.begin());
  const end = await session.run(job, hear);
  if (end.kind === 'died') hear({ kind: 'failed', error: end.error, file: null, variant: null });
  // Whatever ended the check before its time, what was not looked at is not fine.
  if (findings.notChecked > 0) session.note(3);
  return findings;
}

function huntOf({ random, pct, seed = 1 }: CheckOptions): Hunt | undefined {
  if (random !== undefined) return { oracle: 'random', runs: random, seed };
  return pct === undefined ? undefined : { oracle: 'pct', runs: pct, seed };
}

/** Options that would silently mean nothing beside others. */
function refuseMixed({ limit, certify, random, pct, seed }: CheckOptions): void {
  const chance = random !== undefined || pct !== undefined;
  if (limit.switches !== undefined && (certify || chance)) {
    throw new GracewalkError('E115', 'a search by context switches is a search of its own', {
      notes: ['--certify, --random and --pct are about other searches'],
      help: 'drop --limit switches=, or the other option',
    });
  }
  if (seed !== undefined && !chance) {
    throw new GracewalkError('E115', '--seed without chance', {
      notes: ['check tries all runs: nothing is random'],
      help: '--random RUNS or --pct RUNS make runs by chance',
    });
  }
}

/** `--variant pv, no rcu`: the shell makes three words of it, and the last two would be scenarios. */
function refuseUnquoted(variants: readonly string[]): void {
  const cut = variants.find((name) => name.endsWith(','));
  if (cut === undefined) return;
  throw new GracewalkError('E106', `the variant's name '${cut}' ends in the middle`, {
    help: `quote names that have spaces: --variant '${cut} ...'`,
  });
}
