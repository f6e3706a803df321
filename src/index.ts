/** `gracewalk`: the authoring API. Kernel functions are in `gracewalk/linux`, machines in `gracewalk/arch`. */
export { fails, nop, safe, scenario } from './scenario/scenario.ts';
export type {
  ActorBody,
  AllocationSettings,
  MachineSpecification,
  Scenario,
  ScenarioDefinition,
  Variant,
  VariantOptions,
} from './scenario/scenario.ts';
export { entered, only, returned, touched } from './scenario/predicates.ts';
export type {
  LifeName,
  Predicate,
  StatePredicate,
  StepPredicate,
  View,
} from './scenario/predicates.ts';
export { fn, leaf, patch } from './machine/fn.ts';
export { holds } from './machine/protection.ts';
export type { Protection } from './machine/protection.ts';
export type { KernelFn, Patch } from './machine/fn.ts';
export { assume, bounded, choose, join, spin_until } from './machine/ops/control.ts';
export { VIOLATION_KINDS } from './machine/violation.ts';
export type { ViolationKind } from './machine/violation.ts';
export type { Machine } from './machine/machine.ts';
export type { Entry, Page, Word } from './machine/memory.ts';
export type { Steps } from './machine/op.ts';
export { GracewalkError } from './base/errors.ts';
