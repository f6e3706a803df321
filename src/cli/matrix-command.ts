import { machineArch } from '../arch/machines.ts';
import type { MemoryModel } from '../machine/store-buffers.ts';
import { cellJson, renderMatrix } from '../report/matrix.ts';
import type { Limits } from '../scenario/check.ts';
import type { MatrixCell } from '../scenario/result.ts';
import { exitCodeOf, type ExitCode } from './exit-code.ts';
import { findScenarios } from './find-scenarios.ts';
import { MODELS, jsonText, type JsonForm } from './options.ts';
import { ENGINE_VERSION, SCENARIO_FOLDER } from './package.ts';
import { Session, type CommonOptions } from './session.ts';
import { painter } from './term.ts';

export interface MatrixOptions extends CommonOptions {
  readonly variant: readonly string[];
  readonly machine: readonly string[];
  readonly model?: MemoryModel;
  readonly limit: Limits;
  readonly json?: JsonForm;
  readonly width: number;
}

/** `gracewalk matrix FILE...`: variants, machines and memory models in one table. */
export async function matrix(
  operands: readonly string[],
  options: MatrixOptions,
): Promise<ExitCode> {
  const session = new Session(options);
  const cells: MatrixCell[] = [];
  let planned = 0;
  const end = await session.run(
    {
      kind: 'matrix',
      files: findScenarios(operands, SCENARIO_FOLDER),
      variants: options.variant,
      machines: options.machine.map((name) => machineArch(name).name),
      models: options.model ? [options.model] : MODELS,
      limits: options.limit,
    },
    (message) => {
      if (message.kind === 'failed') session.fail(message.error);
      if (message.kind === 'planned') planned = message.variants.length;
      if (message.kind !== 'cell') return;
      cells.push(message.cell);
      session.note(codeOf(message.cell));
    },
  );
  if (end.kind === 'died') session.fail(end.error);
  if (cells.length < planned) session.note(3);
  await session.output.write(rendered(cells, planned, options, session.color));
  return session.finish();
}

/** Of what nobody declared, nothing is expected; but a search that did not end is no answer anywhere. */
function codeOf({ declared, result }: MatrixCell): ExitCode {
  if (result === null) return 0;
  return declared || result.verdict === 'inconclusive' ? exitCodeOf(result) : 0;
}

function rendered(
  cells: readonly MatrixCell[],
  planned: number,
  { json, width }: MatrixOptions,
  colored: boolean,
): string {
  if (json) {
    const ok = cells.length === planned && cells.every((cell) => codeOf(cell) === 0);
    const head = { schema: 'gracewalk.matrix/1', engine: ENGINE_VERSION, ok };
    return jsonText(
      { ...head, notExplored: planned - cells.length, cells: cells.map(cellJson) },
      json,
    );
  }
  if (cells.length === 0) return '';
  const missing = planned - cells.length;
  const more = missing === 0 ? '' : `Not explored: ${missing} more.\n`;
  return renderMatrix(cells, { width, painter: painter(colored) }) + more;
}
