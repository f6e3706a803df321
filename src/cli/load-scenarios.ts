import { GracewalkError } from '../base/errors.ts';
import { isScenario, type Scenario } from '../scenario/scenario.ts';
import { loadModule } from './load/load-scenario.ts';
import { displayName } from './source-lines.ts';

export interface Loaded {
  readonly file: string;
  readonly scenario: Scenario;
}

/** Loads every file that can be loaded; `fail` hears of the others. */
export async function loadScenarios(
  files: readonly string[],
  fail: (error: unknown, file: string) => void,
  begin: (file: string) => void,
): Promise<Loaded[]> {
  const loaded: Loaded[] = [];
  for (const file of files) {
    begin(file);
    try {
      refuseOtherFiles(file);
      const scenario = scenarioOf(await loadModule(file), file);
      refuseSameId(scenario, file, loaded);
      loaded.push({ file, scenario });
    } catch (error) {
      fail(error, file);
    }
  }
  return loaded;
}

function refuseOtherFiles(file: string): void {
  if (/\.[cm]?[jt]s$/.test(file)) return;
  throw new GracewalkError('E105', `${displayName(file)} is not a scenario file`, {
    help: 'a scenario is a TypeScript file, my-race.ts, that ends in `export default scenario(...)`',
  });
}

function scenarioOf(module: Record<string, unknown>, file: string): Scenario {
  const exported = module['default'];
  if (isScenario(exported)) return exported;
  const name = displayName(file);
  const named = Object.keys(module).find((key) => isScenario(module[key]));
  if (named !== undefined) {
    throw new GracewalkError('E105', `${name} exports its scenario as '${named}'`, {
      help: `write \`export default scenario(...)\` instead of \`export const ${named}\``,
    });
  }
  const what =
    exported === undefined
      ? `${name} has no default export`
      : `the default export of ${name} is not a scenario`;
  throw new GracewalkError('E105', what, {
    help: "a scenario file ends in `export default scenario('name', { ... })`",
  });
}

/** A token names its scenario by id, so an id must mean one scenario. */
function refuseSameId(scenario: Scenario, file: string, loaded: readonly Loaded[]): void {
  const other = loaded.find((earlier) => earlier.scenario.id === scenario.id);
  if (!other) return;
  throw new GracewalkError('E111', `two scenarios are called '${scenario.id}'`, {
    notes: [`in ${displayName(other.file)}`, `in ${displayName(file)}`],
    help: 'tokens name a scenario by its id: give one of them another',
  });
}
