import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { GracewalkError } from '../base/errors.ts';
import { suggest } from '../base/suggest.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { machineArch } from '../arch/machines.ts';
import type { ExitCode } from './exit-code.ts';
import { builtInScenarios, findScenario } from './find-scenarios.ts';
import { formOf, type Detail, type FormOptions, type Layout, type RunForm } from './options.ts';
import { SCENARIO_FOLDER } from './package.ts';
import { wantedRun } from './import-run.ts';
import type { Replayed, ReplayWanted } from './protocol.ts';
import { renderReplay, renderRunAs } from './render.ts';
import { stepThrough } from './step.ts';
import { Session, type CommonOptions } from './session.ts';

export interface ReplayOptions extends CommonOptions, FormOptions {
  readonly model?: MemoryModel;
  readonly machine?: string;
  readonly on?: string;
  readonly minimize?: boolean;
  readonly as?: RunForm;
  readonly step?: boolean;
  readonly width: number;
  readonly layout: Layout;
  readonly detail: Detail;
}

/** `gracewalk replay TOKEN [FILE]`: the diagram of one run. */
export async function replay(
  token: string,
  file: string | undefined,
  options: ReplayOptions,
): Promise<ExitCode> {
  const { machine } = options;
  const wanted = wantedRun(token);
  const path = fileOf(wanted, file);
  const session = new Session(options);
  let replayed: Replayed | null = null;
  const end = await session.run(
    {
      kind: 'replay',
      file: path,
      wanted,
      model: options.model ?? null,
      machine: machine === undefined ? null : machineArch(machine).name,
      on: options.on ?? null,
      minimize: options.minimize ?? false,
    },
    (message) => {
      if (message.kind === 'failed') session.fail(message.error);
      if (message.kind === 'replayed') replayed = message.replayed;
    },
  );
  if (end.kind === 'died') session.fail(end.error);
  if (replayed !== null) await show(replayed, options, session);
  return session.finish();
}

async function show(replayed: Replayed, options: ReplayOptions, session: Session): Promise<void> {
  const { scenario, otherVersion } = replayed;
  if (otherVersion !== null) {
    session.warn(
      `warning: the token is from another version of ${scenario} (here @${otherVersion}); the run still exists`,
    );
  }
  if (options.step) {
    await stepThrough(replayed, options.width);
    return;
  }
  const look = { ...options, colored: session.color };
  const rendered = options.as
    ? renderRunAs(replayed, options.as, look)
    : renderReplay(replayed, formOf(options), look);
  await session.output.write(rendered);
}

/** The file named; else the built-in scenario; else a file here that is called like the scenario. */
function fileOf({ scenario }: ReplayWanted, file: string | undefined): string {
  const cwd = process.cwd();
  const builtIns = builtInScenarios(SCENARIO_FOLDER);
  if (file !== undefined) return findScenario(file, builtIns, cwd);
  if (builtIns.some(({ name }) => name === scenario)) return findScenario(scenario, builtIns, cwd);
  const here = resolve(cwd, `${scenario}.ts`);
  if (existsSync(here)) return here;
  const meant = suggest(
    scenario,
    builtIns.map(({ name }) => name),
  );
  throw new GracewalkError('E110', `no built-in scenario '${scenario}'`, {
    notes: [`nor is there a ${scenario}.ts here`],
    help:
      meant === null
        ? 'name its file after the token: gracewalk replay TOKEN my-race.ts'
        : `did you mean ${meant}?  Of a file, name it after the token: gracewalk replay TOKEN my-race.ts`,
  });
}
