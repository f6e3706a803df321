import { machineArch } from '../arch/machines.ts';
import { fillCell, placesOf, type Place } from '../scenario/matrix.ts';
import type { CheckOptions } from '../scenario/check.ts';
import type { Scenario } from '../scenario/scenario.ts';
import type { Loaded } from './load-scenarios.ts';
import type { MatrixJob, Message } from './protocol.ts';
import { planVariants } from './variants.ts';

export interface MatrixHooks {
  readonly post: (message: Message) => void;
  readonly fail: (error: unknown, file: string | null, variant?: string) => void;
  readonly stopped: () => boolean;
  readonly options: (scenario: Scenario, variant: string) => CheckOptions;
}

/** The worker's part of `gracewalk matrix`: cell after cell, until somebody says stop. */
export function matrixRun(job: MatrixJob, loaded: readonly Loaded[], hooks: MatrixHooks): void {
  const wanted = planVariants(loaded, job.variants, (error) => hooks.fail(error, null));
  const axes = { archs: job.machines.map(machineArch), models: job.models };
  const cells = loaded.flatMap(({ file, scenario }) => {
    const own = wanted.filter((planned) => planned.scenario === scenario);
    const names = own.map(({ variant }) => variant);
    return placesOf(scenario, names, axes).map((place) => ({ file, scenario, place }));
  });
  hooks.post({
    kind: 'planned',
    variants: cells.map(({ file, scenario, place }) => ({
      file,
      scenario: scenario.id,
      variant: place.variant,
    })),
  });
  for (const { file, scenario, place } of cells) {
    if (hooks.stopped()) return;
    try {
      const cell = fillCell(scenario, place, hooks.options(scenario, titleOf(place)));
      hooks.post({ kind: 'cell', cell });
    } catch (error) {
      hooks.fail(error, file, place.variant);
    }
  }
}

/** As progress calls it. */
function titleOf({ variant, arch, model }: Place): string {
  return `${variant}, ${arch.name} ${model.toUpperCase()}`;
}
