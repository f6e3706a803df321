import { TABLE_KINDS, tableKindNamed } from '../arch/kinds.ts';
import type { ExitCode } from './exit-code.ts';
import { explainJson, explainText } from './explain-text.ts';
import { jsonText, type JsonForm } from './options.ts';
import { Session, type CommonOptions } from './session.ts';

export interface ExplainOptions extends CommonOptions {
  readonly json?: JsonForm;
}

/** `gracewalk explain NAME`: what an architecture's page tables look like and which rules hold for them. */
export async function explain(
  name: string | undefined,
  options: ExplainOptions,
): Promise<ExitCode> {
  const text = name === undefined ? list(options) : one(name, options);
  const session = new Session(options);
  await session.output.write(text);
  return session.finish();
}

function one(name: string, { json }: ExplainOptions): string {
  const kind = tableKindNamed(name);
  return json ? jsonText(explainJson(kind), json) : explainText(kind);
}

function list({ json }: ExplainOptions): string {
  const names = TABLE_KINDS.map(({ name, title }) => ({ name, title }));
  if (json) return jsonText({ schema: 'gracewalk.names/1', names }, json);
  const width = Math.max(...names.map(({ name }) => name.length));
  const rows = names.map(({ name, title }) => `  ${name.padEnd(width)}  ${title}`);
  return `Architectures and kinds of page tables:\n\n${rows.join('\n')}\n`;
}
