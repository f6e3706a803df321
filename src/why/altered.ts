import type { Scenario, Variant } from '../scenario/scenario.ts';

/** The scenario with one variant changed. */
export function withVariant(
  declared: Scenario,
  name: string,
  change: (variant: Variant<unknown>) => Variant<unknown>,
): Scenario {
  const { definition } = declared;
  const variant = definition.variants[name] as Variant<unknown>;
  const variants = { ...definition.variants, [name]: change(variant) };
  return Object.freeze({ ...declared, definition: { ...definition, variants } });
}

/** A variant that does without more: an ordinary one. */
export function withoutProtections(
  declared: Scenario,
  name: string,
  protections: readonly string[],
): Scenario {
  return withVariant(declared, name, (variant) => ({
    ...variant,
    without: [...(variant.without ?? []), ...protections],
  }));
}

/** Something that a variant has of its own, and how to give it up. */
export interface Difference {
  readonly name: string;
  readonly revert: (variant: Variant<unknown>) => Variant<unknown>;
}

/** What distinguishes a variant from the scenario that it is a variant of. */
export function differencesOf({ definition }: Scenario, name: string): Difference[] {
  const variant = definition.variants[name] as Variant<unknown>;
  return [
    ...(variant.patches ?? []).map((patch, at, { length }) => ({
      name: `the patch of ${patch.target.title}()${length > 1 ? ordinal(variant, at) : ''}`,
      revert: (now: Variant<unknown>) => ({
        ...now,
        patches: (now.patches ?? []).filter((each) => each !== patch),
      }),
    })),
    ...(variant.without ?? []).map((protection) => ({
      name: `the lack of ${protection}`,
      revert: (now: Variant<unknown>) => ({
        ...now,
        without: (now.without ?? []).filter((each) => each !== protection),
      }),
    })),
    ...settings(variant, definition.config, 'config'),
    ...settings(variant, definition.alloc, 'alloc'),
    ...WHOLE.filter((field) => variant[field] !== undefined).map((field) => ({
      name: wholeName(variant, field),
      revert: ({ [field]: _own, ...rest }: Variant<unknown>) => rest,
    })),
  ];
}

/** Two patches of one function are told apart by their place in the list; most have only one. */
function ordinal({ patches = [] }: Variant<unknown>, at: number): string {
  const same = patches.filter(({ target }) => target === patches[at]?.target);
  return same.length > 1 ? ` (number ${at + 1})` : '';
}

function settings(
  variant: Variant<unknown>,
  usual: object | undefined,
  field: 'config' | 'alloc',
): Difference[] {
  return Object.entries(variant[field] ?? {})
    .filter(([key, value]) => (usual as Record<string, unknown> | undefined)?.[key] !== value)
    .map(([key, value]) => ({
      name: `${key}=${shown(value)}`,
      revert: (now) => {
        const { [key]: _own, ...rest } = now[field] as Record<string, unknown>;
        return { ...now, [field]: rest };
      },
    }));
}

/** As a kernel configuration writes it. */
function shown(value: unknown): string {
  return typeof value === 'boolean' ? (value ? 'y' : 'n') : String(value);
}

const WHOLE = ['machine', 'model', 'setup', 'run', 'foreign'] as const;

function wholeName(variant: Variant<unknown>, field: (typeof WHOLE)[number]): string {
  switch (field) {
    case 'machine':
      return `the machine ${variant.machine?.title ?? ''}`;
    case 'model':
      return `the memory model ${variant.model ?? ''}`;
    case 'setup':
      return 'its own setup';
    case 'run':
      return 'its own actors';
    case 'foreign':
      return `foreign: ${variant.foreign ?? 0}`;
  }
}
