import { GracewalkError } from '../base/errors.ts';
import { isOn } from '../arch/machines.ts';
import type { ArchDescriptor } from '../machine/arch.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { checkVariant, variantNames, type CheckOptions } from './check.ts';
import { onMachine } from './on-machine.ts';
import { definitionOf } from './program.ts';
import type { MatrixCell } from './result.ts';
import { underModel, type Scenario, type Variant } from './scenario.ts';

/** One question of the table: a variant, on an architecture, under a memory model. */
export interface Place {
  readonly variant: string;
  readonly arch: ArchDescriptor;
  readonly model: MemoryModel;
  /** As the scenario declares it: only then is there an expectation of it. */
  readonly declared: boolean;
}

export interface MatrixAxes {
  /** None: those that the scenario's variants are declared on. */
  readonly archs: readonly ArchDescriptor[];
  readonly models: readonly MemoryModel[];
}

/** The cells of a scenario, row by row. */
export function placesOf(
  scenario: Scenario,
  variants: readonly string[],
  { archs, models }: MatrixAxes,
): Place[] {
  const own = variantNames(scenario).map((name) => definitionOf(scenario, name).machine.arch);
  const columns = archs.length > 0 ? archs : [...new Set(own)];
  return variants.flatMap((variant) => {
    const { machine, model: declaredModel } = definitionOf(scenario, variant);
    return columns.flatMap((arch) =>
      models.map((model) => ({
        variant,
        arch,
        model,
        declared: isOn(machine, arch) && model === declaredModel,
      })),
    );
  });
}

/** Explores one cell, or says why it means nothing. */
export function fillCell(scenario: Scenario, place: Place, options: CheckOptions): MatrixCell {
  const { variant, arch, model, declared } = place;
  const where = { scenario: scenario.id, variant, machine: arch.name, model, declared };
  const none = (reason: string): MatrixCell => ({ ...where, notApplicable: reason, result: null });
  const reason = outOfPlace(scenario, place);
  if (reason !== null) return none(reason);
  try {
    const there = underModel(onMachine(scenario, arch), model);
    const result = checkVariant(there, variant, options);
    const [unused] = result.neverCalled;
    if (!declared && unused) return none(`${unused.name}(), which it patches, is never called`);
    return { ...where, notApplicable: null, result };
  } catch (error) {
    // E13x: the protocols do not know such tables. Where it is declared, that is the author's mistake.
    if (declared || !(error instanceof GracewalkError) || !error.code.startsWith('E13'))
      throw error;
    return none(error.message);
  }
}

/** A variant that names a machine or a model is about that one; a kernel may not exist in some configuration. */
function outOfPlace(scenario: Scenario, { variant, arch, model }: Place): string | null {
  const own = scenario.definition.variants[variant] as Variant<unknown>;
  const { config, machine } = definitionOf(scenario, variant);
  if (own.machine && !isOn(own.machine, arch)) return `it is about ${machine.arch.name}`;
  if (own.model && own.model !== model) return `it is about ${own.model.toUpperCase()}`;
  return arch.impossible?.({ ...arch.config, ...config }) ?? null;
}
